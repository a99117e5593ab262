package generate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const config = `# Generate db/*.go after changing db/queries or the migrations: pgmigrate-dev generate
# sqlc reads tern's files itself: it leaves out what stands below the drop marker.
version: "2"
sql:
  - engine: postgresql
    schema: %s
    queries: db/queries
    # pgmigrate-dev generate names a shadow database here, with the migrations applied.
    database:
      uri: ${` + VetVariable + `}
    analyzer:
      database: false
    rules:
      - sqlc/db-prepare
    gen:
      go:
        package: db
        out: db
        sql_package: pgx/v5
        emit_pointers_for_null_types: true
        emit_empty_slices: true
`

// Init writes sqlc.yaml into dir, for the migrations folder, and makes db/queries. It returns the
// path, and overwrites nothing.
func Init(dir, migrations string) (string, error) {
	schema, err := filepath.Rel(dir, migrations)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sqlc.yaml")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", err
	}
	_, err = fmt.Fprintf(f, config, filepath.ToSlash(schema))
	return path, errors.Join(err, f.Close(), os.MkdirAll(filepath.Join(dir, "db", "queries"), 0o755))
}
