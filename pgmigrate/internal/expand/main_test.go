package expand_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/backfill"
	"github.com/page-builder/persistence/pgmigrate/internal/expand"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a database with a change that is planned for it.
type bench struct {
	t          *testing.T
	config     *pgx.ConnConfig
	conn       *pgx.Conn
	change     *expand.Change
	migrations fstest.MapFS // the contract is the last
	backfills  fstest.MapFS
}

// setup makes a database by the first migration, fills it and plans the change.
func setup(t *testing.T, schema, rows string, opts expand.Options) *bench {
	t.Helper()
	b := open(t)
	b.migrations = fstest.MapFS{"001_first.sql": {Data: []byte(schema)}}
	b.to(1)
	if rows != "" {
		b.exec(rows)
	}
	var err error
	if b.change, err = expand.Plan(t.Context(), b.conn, opts); err != nil {
		t.Fatal(err)
	}
	texts := []string{}
	for _, m := range b.change.Migrations {
		texts = append(texts, m.Text)
	}
	for i, text := range append(texts, b.change.Contract) {
		b.migrations[fmt.Sprintf("%03d_m.sql", i+2)] = &fstest.MapFile{Data: []byte(text)}
	}
	b.backfills[b.change.Name+".sql"] = &fstest.MapFile{Data: []byte(b.change.Backfill)}
	return b
}

// open makes a database without tables.
func open(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, backfills: fstest.MapFS{}}
	var err error
	if b.config, err = pgserver.ParseConfig(pgserver.Database(t)); err != nil {
		t.Fatal("parse the test database's address")
	}
	b.conn = b.connect()
	return b
}

func (b *bench) connect() *pgx.Conn {
	b.t.Helper()
	conn, err := pgx.ConnectConfig(b.t.Context(), b.config)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close(context.WithoutCancel(b.t.Context())) })
	return conn
}

func (b *bench) exec(sql string) {
	b.t.Helper()
	if _, err := b.conn.PgConn().Exec(b.t.Context(), sql).ReadAll(); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

func (b *bench) migrator() *pgmigrate.Migrator {
	b.t.Helper()
	m, err := pgmigrate.New(b.config, b.migrations, pgmigrate.WithLogger(nil))
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

func (b *bench) to(version int) {
	b.t.Helper()
	if _, err := b.migrator().To(b.t.Context(), int32(version)); err != nil {
		b.t.Fatalf("to version %d: %v", version, err)
	}
}

func (b *bench) last() int { return len(b.migrations) }

func (b *bench) backfill() {
	b.t.Helper()
	r, err := backfill.New(b.config, b.backfills, backfill.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := r.Run(b.t.Context(), b.change.Name); err != nil {
		b.t.Fatal(err)
	}
}

func ask[T any](b *bench, sql string) (value T) {
	b.t.Helper()
	if err := b.conn.QueryRow(b.t.Context(), sql, pgx.QueryExecModeExec).Scan(&value); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// log prints the files if the test fails.
func (b *bench) log() {
	if b.t.Failed() {
		b.t.Log(b.change.Backfill)
		for i := range b.last() {
			b.t.Logf("%d:\n%s", i+1, b.migrations[fmt.Sprintf("%03d_%s.sql", i+1, map[bool]string{true: "first", false: "m"}[i == 0])].Data)
		}
		b.t.Log(strings.Join(b.change.Notes, "\n"))
	}
}
