package pgtest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/peterldowns/pgtestdb"
)

// filled is a migrator followed by seeds.
type filled struct {
	pgtestdb.Migrator
	folders []fs.FS
	seeds   []seed // what is in them
}

// seed is one file.
type seed struct{ name, sql string }

// seedEnvironment is the folder of seeds that "pgmigrate seed" runs with APP_ENV=test.
const seedEnvironment = "test"

func readSeeds(folders []fs.FS) ([]seed, error) {
	var seeds []seed
	for _, fsys := range folders {
		names, err := fs.Glob(fsys, "*.sql") // sorted
		if err != nil {
			return nil, fmt.Errorf("seeds: %w", err)
		}
		more, err := fs.Glob(fsys, seedEnvironment+"/*.sql")
		if err != nil {
			return nil, fmt.Errorf("seeds: %w", err)
		}
		names = append(names, more...)
		if len(names) == 0 {
			return nil, errors.New("seeds: no *.sql in the folder given to pgtest.Seed")
		}
		for _, name := range names {
			text, err := fs.ReadFile(fsys, name)
			if err != nil {
				return nil, fmt.Errorf("seeds: %w", err)
			}
			seeds = append(seeds, seed{name, string(text)})
		}
	}
	return seeds, nil
}

// Hash changes with the migrations and with every seed.
func (f *filled) Hash() (string, error) {
	hash, err := f.Migrator.Hash()
	if err != nil || len(f.seeds) == 0 {
		return hash, err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q", hash)
	for _, s := range f.seeds {
		fmt.Fprintf(h, "%q%q", s.name, s.sql)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// migratorType tells apart tools that compute the same hash.
func migratorType(m pgtestdb.Migrator) string {
	if f, ok := m.(*filled); ok {
		m = f.Migrator
	}
	return fmt.Sprintf("%T", m)
}

// Migrate also leaves the file pg_internal.init behind, in which a backend finds the system
// catalog's shape at its start: the last connection writes it. Copies of the template's files then
// have it too.
func (f *filled) Migrate(ctx context.Context, db *sql.DB, conf pgtestdb.Config) error {
	if err := f.Migrator.Migrate(ctx, db, conf); err != nil {
		return err
	}
	// At an older version, which pgmigrate does not seed, they run as with another migrator.
	m, ours := f.Migrator.(*migrator)
	if ours = ours && m.version == 0; ours {
		if err := m.seed(ctx, conf, f.folders); err != nil {
			return err
		}
	}
	conn, err := connectTemplate(ctx, conf)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if ours {
		return nil
	}
	for _, s := range f.seeds {
		if _, err := conn.PgConn().Exec(ctx, s.sql).ReadAll(); err != nil {
			return fmt.Errorf("seed %s: %w", s.name, err)
		}
	}
	return nil
}
