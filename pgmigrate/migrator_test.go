package pgmigrate_test

import (
	"io/fs"
	"log/slog"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// bench is a database for one test, with a connection.
type bench struct {
	config *pgx.ConnConfig
	conn   *pgx.Conn
}

func setup(t *testing.T) *bench {
	t.Helper()
	return setupOn(t, pgserver.Database(t))
}

func setupOn(t *testing.T, url string) *bench {
	t.Helper()
	b := &bench{config: parse(t, url)}
	b.conn = b.connect(t)
	return b
}

func parse(t testing.TB, url string) *pgx.ConnConfig {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal("parse the test database's address") // not err: it may quote the password
	}
	return cfg
}

func (b *bench) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), b.config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(t.Context()) })
	return conn
}

func (b *bench) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := b.conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// ask returns a single value.
func ask[T any](t *testing.T, b *bench, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := b.conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// files makes a folder from name, content pairs.
func files(pairs ...string) fs.FS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

const (
	below      = "---- create above / drop below ----\n"
	disableTx  = "---- tern: disable-tx ----\n"
	firstPages = "create table pages (id int primary key);\n" + below + "drop table pages;\n"
	thenTitle  = "alter table pages add title text;\n" + below + "alter table pages drop title;\n"
	thenIndex  = disableTx + "create index concurrently pages_title on pages (title);\n" +
		below + disableTx + "drop index concurrently pages_title;\n"
)

// firstTwo is three without its third migration.
func firstTwo() fs.FS { return files("001_pages.sql", firstPages, "002_title.sql", thenTitle) }

// three is a folder of three reversible migrations.
func three() fs.FS {
	return files("001_pages.sql", firstPages, "002_title.sql", thenTitle, "003_index.sql", thenIndex)
}

func migrator(t *testing.T, b *bench, fsys fs.FS, opts ...pgmigrate.Option) *pgmigrate.Migrator {
	t.Helper()
	opts = append([]pgmigrate.Option{pgmigrate.WithLogger(slog.New(slog.NewTextHandler(t.Output(), nil)))}, opts...)
	m, err := pgmigrate.New(b.config, fsys, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
