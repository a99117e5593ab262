package pgtest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/peterldowns/pgtestdb"
)

// filled is a migrator followed by seeds.
type filled struct {
	pgtestdb.Migrator
	seeds []seed
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

// Migrate runs the seeds after the migrations. A last session without work leaves the file
// pg_internal.init behind, which makes the start of sessions faster, also in copies of the
// template.
func (f *filled) Migrate(ctx context.Context, db *sql.DB, conf pgtestdb.Config) error {
	if err := f.Migrator.Migrate(ctx, db, conf); err != nil {
		return err
	}
	cfg, err := parseTemplate(conf)
	if err != nil {
		return err
	}
	for _, file := range append(f.seeds, seed{}) {
		if err := file.run(ctx, cfg); err != nil {
			return err
		}
	}
	return nil
}

// run runs the file in a session and a transaction of its own.
func (s seed) run(ctx context.Context, cfg *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.PgConn().Exec(ctx, s.sql).ReadAll(); err != nil {
		return fmt.Errorf("seed %s: %w", s.name, err)
	}
	return nil
}
