package pgpool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool"
)

type place struct {
	Name string
	Mood *string
}

// Types of the database and their arrays can be sent and read on every connection of the pool.
func TestTypes(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 3
	admin := connect(t, config)
	for _, sql := range []string{
		`create type mood as enum ('sad', 'happy')`, `create schema geo`,
		`create domain geo.title as text check (value <> '')`,
		`create type geo.place as (name geo.title, mood mood)`,
		`create extension hstore`, `create extension citext`,
	} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	lookups := &counting{}
	pool := connect(t, config, pgpool.WithTypes("mood", "geo.place"), pgpool.WithTypes("hstore", "citext"),
		pgpool.WithTracer(lookups))
	first := lookups.started.Load()
	conns := []*pgxpool.Conn{acquire(t, pool), acquire(t, pool), acquire(t, pool)}
	if got := lookups.started.Load(); got != first {
		t.Errorf("%d statements for further connections, want none", got-first)
	}
	for _, conn := range conns {
		happy := "happy"
		places := []place{{"home", &happy}, {"away", nil}}
		var gotPlaces []place
		var moods []string
		var pairs map[string]*string
		var name string
		err := conn.QueryRow(t.Context(), `select $1::geo.place[], $2::mood[], $3::hstore, $4::citext`,
			places, []string{"sad", "happy"}, map[string]*string{"a": nil}, "Home").Scan(&gotPlaces,
			&moods, &pairs, &name)
		if err != nil {
			t.Fatal(err)
		}
		if len(gotPlaces) != 2 || gotPlaces[0].Name != "home" || *gotPlaces[0].Mood != "happy" ||
			gotPlaces[1].Mood != nil ||
			strings.Join(moods, " ") != "sad happy" || len(pairs) != 1 || name != "Home" {
			t.Errorf("got %v, %v, %v, %q back", gotPlaces, moods, pairs, name)
		}
	}
}

func TestTypeThatDoesNotExist(t *testing.T) {
	t.Parallel()
	_, err := pgpool.ConnectConfig(t.Context(), database(t), pgpool.WithLogger(nil), pgpool.WithTypes("mood"))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || failed.Attempts != 1 || !strings.Contains(err.Error(), `there is no type "mood"`) {
		t.Errorf("error is %v, want one attempt and the name", err)
	}
}

// After a connection was lost the types are looked up again: the new server may have others.
func TestTypesAreLookedUpAgain(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 1
	admin := connect(t, config)
	execute := func(sql string, args ...any) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	execute(`create type spot as (x int, y int)`)
	pool := connect(t, config, pgpool.WithTypes("spot"))
	type spot struct{ X, Y int }
	read := func() (got spot, err error) {
		err = pool.QueryRow(t.Context(), `select row(1, 2)::spot`).Scan(&got)
		return got, err
	}
	if got, err := read(); err != nil || got.Y != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	execute(`drop type spot`)
	execute(`create type spot as (x int, y int)`) // with another OID
	conn := acquire(t, pool)
	execute(`select pg_terminate_backend($1, 10000)`, int32(conn.Conn().PgConn().PID()))
	if _, err := conn.Exec(t.Context(), `select 1`); err == nil {
		t.Fatal("the connection survived")
	}
	conn.Release()
	if got, err := read(); err != nil || got.Y != 2 {
		t.Errorf("%v, %v after the types changed", got, err)
	}
}

// Types that pgx knows stay as they are, and an array stands for its elements.
func TestTypesThatPgxKnows(t *testing.T) {
	t.Parallel()
	config := database(t)
	if _, err := connect(t, config).Exec(t.Context(), `create type mood as enum ('sad')`); err != nil {
		t.Fatal(err)
	}
	pool := connect(t, config, pgpool.WithTypes("timestamptz", "int4", "jsonb", "text[]", "mood[]"))
	var now time.Time
	var n int
	var document any
	var texts, moods []string
	err := pool.QueryRow(t.Context(), `select now(), 7, '{"a": 1}'::jsonb, '{a,b}'::text[], '{sad}'::mood[]`).
		Scan(&now, &n, &document, &texts, &moods)
	if err != nil || len(texts) != 2 || len(moods) != 1 {
		t.Errorf("%v, %v, %v", texts, moods, err)
	}
	if _, ok := document.(map[string]any); !ok {
		t.Errorf("jsonb is a %T", document)
	}
}

// If a migration drops a type later, the others are still registered.
func TestTypeThatIsDropped(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 1
	admin := connect(t, config)
	execute := func(sql string, args ...any) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	execute(`create type mood as enum ('sad')`)
	execute(`create type gone as enum ('x')`)
	var log logs
	pool := connect(t, config, pgpool.WithTypes("gone", "mood"), pgpool.WithLogger(log.Logger()))
	execute(`drop type gone`)
	conn := acquire(t, pool)
	execute(`select pg_terminate_backend($1, 10000)`, int32(conn.Conn().PgConn().PID()))
	if _, err := conn.Exec(t.Context(), `select 1`); err == nil {
		t.Fatal("the connection survived")
	}
	conn.Release()
	var moods []string
	if err := pool.QueryRow(t.Context(), `select array_agg('sad'::mood)`).Scan(&moods); err != nil || len(moods) != 1 {
		t.Errorf("%v, %v", moods, err)
	}
	if lines := log.Lines("cannot register all types"); len(lines) != 1 || !strings.Contains(lines[0], "gone") {
		t.Errorf("log is %q, want one line that names the type", &log)
	}
}

// The option runs on every connection, after the configuration's hook.
func TestAfterConnect(t *testing.T) {
	t.Parallel()
	config := database(t)
	var order []string
	config.AfterConnect = func(context.Context, *pgx.Conn) error { order = append(order, "configuration"); return nil }
	step := func(name string) pgpool.Option {
		return pgpool.WithAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
			order = append(order, name)
			_, err := conn.Exec(ctx, `set application_name = 'prepared'`)
			return err
		})
	}
	config.MinIdleConns = 0
	pool := connect(t, config, step("first"), step("second"), pgpool.WithAfterConnect(nil))
	order = nil
	var name string
	if err := pool.QueryRow(t.Context(), `show application_name`).Scan(&name); err != nil || name != "prepared" {
		t.Errorf("application_name is %q, %v", name, err)
	}
	if got := strings.Join(order, " "); got != "configuration first second" {
		t.Errorf("called %q", got)
	}
}
