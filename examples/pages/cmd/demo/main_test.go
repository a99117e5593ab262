package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// tell runs the demo with DATABASE_URL set to url and returns its output.
func tell(t *testing.T, url string) (string, error) {
	t.Helper()
	t.Setenv("APP_ENV", "")
	t.Setenv("DATABASE_URL_FILE", "")
	t.Setenv("DATABASE_URL", url)
	var out bytes.Buffer
	err := run(t.Context(), &out)
	return out.String(), err
}

// The demo checks its own claims. This test checks that it tells the whole story.
func TestDemoOnItsOwnServer(t *testing.T) {
	out, err := tell(t, "")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"version 8, was 0", "59 pages", "rolled back, 0 pages online", "told of all 60", "SQLSTATE 40001",
		"→ 200, warn", "→ 503, fail", "version 8 → 7 → 8", "Done in",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in the output:\n%s", want, out)
		}
	}
}

func TestDemoOnDatabaseURL(t *testing.T) {
	url := pgserver.Database(t)
	for range 2 { // the second time it finds its own site
		if out, err := tell(t, url); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}

	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "create table customers (id int)"); err != nil {
		t.Fatal(err)
	}
	if out, err := tell(t, url); err == nil || !strings.Contains(err.Error(), "public.customers") {
		t.Errorf("a database with somebody's tables: %v\n%s", err, out)
	}
}
