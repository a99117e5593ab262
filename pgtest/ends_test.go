package pgtest_test

import (
	"context"
	"os"
	"testing"

	"github.com/page-builder/persistence/pgtest"
)

// The tests of this file end badly, in processes of their own; TestEnds and others look at what
// they leave.

func TestChildPanics(t *testing.T) {
	onlyAsChild(t)
	own(t, 1)
	panic("on purpose")
}

func TestChildFailsNow(t *testing.T) {
	onlyAsChild(t)
	own(t, 1)
	t.Fatal("on purpose")
}

func TestChildLeaksTransaction(t *testing.T) {
	onlyAsChild(t)
	tx, err := pgtest.New(t, pgtest.Migrations(twoTables)).Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(context.Background(), "insert into pages values (1)"); err != nil {
		t.Fatal(err)
	}
}

// The goroutine is in the middle of a statement when the test ends.
func TestChildLeaksGoroutine(t *testing.T) {
	onlyAsChild(t)
	pool := pgtest.New(t, pgtest.Migrations(twoTables))
	conn, err := pool.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	go func() {
		close(started)
		conn.Exec(context.Background(), "select pg_sleep(600)")
		select {} // and never gives it back
	}()
	<-started
}

func TestChildExits(t *testing.T) {
	onlyAsChild(t)
	own(t, 1)
	os.Exit(3)
}

func TestChildLeaksPlainGoroutine(t *testing.T) {
	onlyAsChild(t)
	own(t, 1)
	go func() { select {} }()
}
