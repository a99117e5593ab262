package guides_test

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/migrations"
	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgtest"
)

// The first line of a block that is a migration or a backfill.
var (
	migrationName = regexp.MustCompile(`^-- migrations/(\d+_\w+\.sql)\n`)
	backfillName  = regexp.MustCompile(`^-- backfills/(\w+\.sql)\n`)
)

// A guide's migrations continue the example's: they pass pgmigrate's checks and run up, down and up
// again. Its other SQL runs on the result, block by block, in transactions that are rolled back.
func TestSQL(t *testing.T) {
	t.Parallel()
	for _, g := range guides(t) {
		if len(g.of("sql")) == 0 {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			conn, err := pgx.Connect(t.Context(), pgtest.URL(t, pgtest.Superuser()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.WithoutCancel(t.Context()))
			migrate(t, conn, g)
			if _, err := conn.Exec(t.Context(), citus); err != nil {
				t.Fatal(err)
			}
			for _, b := range g.of("sql") {
				if !migrationName.MatchString(b.text) && !backfillName.MatchString(b.text) {
					execute(t, conn, b)
				}
			}
		})
	}
}

// citus stands in for the functions of the extension: the table and the column must exist.
const citus = `
	create function create_reference_table(t regclass) returns void language sql as 'select';
	create function create_distributed_table(t regclass, col text, colocate_with text default 'default')
	returns void language plpgsql as $$ begin
		perform 1 from pg_attribute where attrelid = t and attname = col;
		if not found then raise 'table % has no column %', t, col; end if;
	end $$`

func migrate(t *testing.T, conn *pgx.Conn, g guide) {
	t.Helper()
	files, shipped := migrationFiles(t, g)
	if len(files) == shipped {
		return
	}
	m, err := pgmigrate.New(conn.Config(), files, pgmigrate.WithStrict(), pgmigrate.WithoutBackfills())
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []int32{int32(len(files)), int32(shipped), int32(len(files))} {
		if _, err := m.To(t.Context(), version); err != nil {
			t.Fatal(err)
		}
	}
}

// migrationFiles returns the example's migrations, of which there are shipped, and the guide's.
func migrationFiles(t *testing.T, g guide) (files fstest.MapFS, shipped int) {
	t.Helper()
	files = fstest.MapFS{}
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	for _, b := range g.of("sql") {
		if name := migrationName.FindStringSubmatch(b.text); name != nil {
			files[name[1]] = &fstest.MapFile{Data: []byte(b.text)}
		}
	}
	return files, len(names)
}

func execute(t *testing.T, conn *pgx.Conn, b block) {
	t.Helper()
	sql := strings.ReplaceAll(b.text, "database app", "database "+pgx.Identifier{conn.Config().Database}.Sanitize())
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.PgConn().Exec(t.Context(), sql).ReadAll()
	if err := errors.Join(err, tx.Rollback(t.Context())); err != nil {
		t.Errorf("%s: %v", b, err)
	}
}
