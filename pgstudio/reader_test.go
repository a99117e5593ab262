package main

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func open(t *testing.T, url string) *database {
	t.Helper()
	cfg, err := pgconfig.Parse(url)
	must(t, err)
	cfg.ConnectTimeout = patience
	db, err := newDatabase(cfg)
	must(t, err)
	must(t, db.reach(t.Context()))
	return db
}

// On a server that asks for passwords, the role's password is valid for one lease, which is renewed
// while studio runs.
func TestLease(t *testing.T) {
	t.Parallel()
	url := fault.NewServer(t, fault.ServerOptions{TCP: true}).URL()
	conn := connect(t, url)

	db := open(t, url)
	r, err := newReader(t.Context(), db, 9*time.Second, io.Discard)
	must(t, err)
	until := func() time.Time {
		return value[time.Time](t, conn, "select rolvaliduntil from pg_roles where rolname = $1", r.name)
	}
	made := until()
	for deadline := time.Now().Add(patience); until().Equal(made); time.Sleep(100 * time.Millisecond) { // polls
		if time.Now().After(deadline) {
			t.Fatal("not renewed")
		}
	}
	r.stop()
	r.renewing.Wait() // as if killed

	login := conn.Config().Copy()
	login.User, login.Password = r.name, r.password
	failure := func() (code string) {
		c, err := pgx.ConnectConfig(t.Context(), login)
		if err == nil {
			must(t, c.Close(t.Context()))
			return ""
		}
		var pg *pgconn.PgError
		if errors.As(err, &pg) {
			return pg.Code
		}
		return err.Error()
	}
	execute(t, conn, "alter role "+r.name+" valid until 'infinity'")
	if got := failure(); got != "" {
		t.Errorf("a valid role cannot log in: %s", got)
	}
	execute(t, conn, "alter role "+r.name+" valid until '"+made.Add(-time.Hour).Format(time.RFC3339)+"'")
	if got := failure(); got != "28P01" {
		t.Errorf("after the lease a login gives %q, want 28P01", got)
	}
	login.Password = "wrong"
	execute(t, conn, "alter role "+r.name+" valid until 'infinity'")
	if got := failure(); got != "28P01" {
		t.Errorf("a wrong password gives %q, want 28P01", got)
	}
	must(t, r.drop())
	if exists(t, conn, r.name) {
		t.Error("the role is left")
	}
}

// A user who is not a superuser needs CREATEROLE and, since PostgreSQL 16, pg_read_all_data with
// the admin option.
func TestRoleOfAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	url, conn := pages(t)
	user := "maker_" + random(8)
	execute(t, conn, "create role "+user+" login createrole; grant pg_read_all_data to "+user+" with admin option")
	defer execute(t, conn, "drop owned by "+user+"; drop role "+user)
	r, err := newReader(t.Context(), open(t, as(t, url, user)), defaultLease, io.Discard)
	must(t, err)
	reading := connect(t, as(t, url, r.name))
	if n := value[int](t, reading, "select count(*) from pages"); n != 2 {
		t.Errorf("%d rows", n)
	}
	// PostgreSQL 14 lets any role create tables in public.
	execute(t, conn, "grant create on schema public to public")
	execute(t, reading, "begin read write; create table mine (); commit")
	must(t, reading.Close(t.Context()))
	must(t, r.drop())
	if exists(t, conn, r.name) {
		t.Error("the role is left")
	}
	if owner := value[string](t, conn, "select tableowner from pg_tables where tablename = 'mine'"); owner != user {
		t.Errorf("its table belongs to %s", owner)
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url  string
		tls  bool
		want string
	}{
		{
			"postgres://a:b@localhost:5433/app", false,
			"postgres://r:p@localhost:5433/app?application_name=pgstudio&sslmode=disable",
		},
		{
			"postgres://a:b@localhost:5433/app?sslmode=prefer", true,
			"postgres://r:p@localhost:5433/app?application_name=pgstudio&sslmode=require",
		},
		{
			"postgres://a:b@[::1]:5433/app", false,
			"postgres://r:p@[::1]:5433/app?application_name=pgstudio&sslmode=disable",
		},
		{
			"postgres://a@/app?host=/tmp/x%20y&port=6", false,
			"postgres://r:p@/app?application_name=pgstudio&host=%2Ftmp%2Fx%20y&port=6&sslmode=disable",
		},
	} {
		cfg, err := pgconfig.Parse(c.url)
		must(t, err)
		db, err := newDatabase(cfg)
		must(t, err)
		db.tls = c.tls
		if got := db.source("r", "p"); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.url, got, c.want)
		}
	}
}
