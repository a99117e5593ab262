package main

import (
	"os"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgconfig"
)

// liveDatabase returns the database that the environment names, or nil if it names none.
func liveDatabase() (*pgx.ConnConfig, error) {
	named := false
	for _, name := range []string{"DATABASE_URL", "DATABASE_URL_FILE", "PGHOST", "PGSERVICE", "PGDATABASE"} {
		named = named || os.Getenv(name) != ""
	}
	if !named {
		return nil, nil
	}
	cfg, err := pgconfig.Load()
	if err != nil {
		return nil, usageError{err}
	}
	conn, err := cfg.DirectConfig()
	if err != nil {
		return nil, usageError{err}
	}
	return conn, nil
}
