package main

import (
	"os"
	"regexp"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgconfig"
)

// liveDatabase returns the database that the environment or .env names, read as pgmigrate reads
// them, or nil if neither names one.
func liveDatabase() (*pgx.ConnConfig, error) {
	if !namesDatabase() {
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

var inDotEnv = regexp.MustCompile(
	`(?m)^[ \t]*(?:export[ \t]+)?(?:DATABASE_URL|DATABASE_URL_FILE|PGHOST|PGSERVICE|PGDATABASE)[ \t]*[=:]`,
)

func namesDatabase() bool {
	for _, name := range []string{"DATABASE_URL", "DATABASE_URL_FILE", "PGHOST", "PGSERVICE", "PGDATABASE"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	switch pgconfig.Environment(os.Getenv("APP_ENV")) {
	case pgconfig.Production, pgconfig.Staging:
		return false // where .env is not read
	}
	text, err := os.ReadFile(".env")
	return err == nil && inDotEnv.Match(text) // pgconfig reports what is wrong with the file
}
