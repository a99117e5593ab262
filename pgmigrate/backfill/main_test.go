package backfill_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgmigrate/backfill"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(asWorker); url != "" {
		os.Exit(runWorker(url))
	}
	goleak.VerifyTestMain(m)
}

// bench is a database of a test, with a connection to look into it.
type bench struct {
	t      *testing.T
	config *pgx.ConnConfig
	conn   *pgx.Conn
}

func setup(t *testing.T, sqls ...string) *bench {
	t.Helper()
	return on(t, pgserver.Database(t), sqls...)
}

func on(t *testing.T, url string, sqls ...string) *bench {
	t.Helper()
	b := &bench{t: t}
	var err error
	if b.config, err = pgserver.ParseConfig(url); err != nil {
		t.Fatal("parse the test database's address")
	}
	b.conn = b.connect()
	b.exec(sqls...)
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

func (b *bench) exec(sqls ...string) {
	b.t.Helper()
	for _, sql := range sqls {
		if _, err := b.conn.PgConn().Exec(b.t.Context(), sql).ReadAll(); err != nil {
			b.t.Fatalf("%s: %v", sql, err)
		}
	}
}

func ask[T any](b *bench, sql string) (value T) {
	b.t.Helper()
	if err := b.conn.QueryRow(b.t.Context(), sql).Scan(&value); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// until waits for a query to answer true. A table that is not there yet is waited for too.
func (b *bench) until(sql string) {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		var answer bool
		err := b.conn.QueryRow(b.t.Context(), sql).Scan(&answer)
		if err != nil && pgerr.Of(err) != pgerr.Statement {
			b.t.Fatalf("%s: %v", sql, err)
		}
		if answer {
			return
		}
	}
	b.t.Fatalf("not true within 20 s: %s", sql)
}

// files makes a folder of name and text.
func files(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]+".sql"] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

func (b *bench) runner(opts backfill.Options, pairs ...string) *backfill.Runner {
	b.t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	r, err := backfill.New(b.config, files(pairs...), opts)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *bench) run(r *backfill.Runner, name string) {
	b.t.Helper()
	if err := r.Run(b.t.Context(), name); err != nil {
		b.t.Fatal(err)
	}
}

func status(t *testing.T, r *backfill.Runner) backfill.Status {
	t.Helper()
	list, err := r.Status(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%d: %v", len(list), err)
	}
	return list[0]
}

// counted is a table whose column n counts how often a batch met the row.
const (
	counted = "create table rows (id bigint primary key, n int not null default 0); " +
		"insert into rows select i from generate_series(1, 2000) i"
	count = "-- pgmigrate:backfill table=public.rows key=id\nupdate rows set n = n + 1 where id between $1 and $2;"
)

// wantOnce checks that each row was met once.
func (b *bench) wantOnce(rows int) {
	b.t.Helper()
	if got := ask[int](b, "select count(*) from rows where n = 1"); got != rows {
		b.t.Errorf("%d rows were met once, want %d", got, rows)
	}
	if got := ask[int](b, "select count(*) from rows where n <> 1"); got != 0 {
		b.t.Errorf("%d rows were met several times or never", got)
	}
}

func contains(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q lacks %q", err, part)
		}
	}
}

func logger(w *strings.Builder) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
