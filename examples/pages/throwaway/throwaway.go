// Package throwaway makes a database for a program without one, on a throwaway PostgreSQL.
package throwaway

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// Wanted reports whether the environment names no database.
func Wanted() bool {
	return os.Getenv("DATABASE_URL") == "" && os.Getenv("DATABASE_URL_FILE") == ""
}

// Open makes an empty database and returns its URL, and a function that removes it. Tests may use
// the same server at the same time; the last to end stops it.
func Open(ctx context.Context, name string) (url string, remove func() error, err error) {
	server, err := pgserver.Acquire(ctx, pgserver.Options{})
	if err != nil {
		return "", nil, err
	}
	name = fmt.Sprintf("%s_%d", name, os.Getpid())
	quoted := pgx.Identifier{name}.Sanitize()
	if err := execute(ctx, server.URL(), "create database "+quoted); err != nil {
		server.Release()
		return "", nil, err
	}
	remove = func() error {
		defer server.Release()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return execute(ctx, server.URL(), "drop database if exists "+quoted+" with (force)")
	}
	return server.DatabaseURL(name), remove, nil
}

func execute(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, sql)
	return err
}
