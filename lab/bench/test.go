package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/peterldowns/pgtestdb"
)

// test is a test without package testing, to measure what happens in one.
type test struct {
	ctx      context.Context
	cleanups []func()
	failed   error
}

func (t *test) Helper()                  {}
func (t *test) Name() string             { return "bench" }
func (t *test) Context() context.Context { return t.ctx }
func (t *test) Cleanup(fn func())        { t.cleanups = append(t.cleanups, fn) }
func (t *test) Failed() bool             { return t.failed != nil }
func (t *test) Logf(string, ...any)      {}
func (t *test) Errorf(format string, a ...any) {
	t.failed = errors.Join(t.failed, fmt.Errorf(format, a...))
}
func (t *test) Fatalf(format string, a ...any) { t.Errorf(format, a...); panic(t.failed) }
func (t *test) Skipf(format string, a ...any)  { t.Fatalf(format, a...) }

// run runs fn as a test, with its cleanups.
func (t *test) run(fn func() error) (err error) {
	failed := t.try(func() { err = fn() })
	return errors.Join(err, failed, t.try(t.end))
}

// try runs fn, and returns what fn fails the test with.
func (t *test) try(fn func()) (err error) {
	defer func() {
		if p := recover(); p != nil && p != any(t.failed) {
			panic(p)
		}
		err, t.failed = t.failed, nil
	}()
	fn()
	return nil
}

// end runs the cleanups.
func (t *test) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
	t.cleanups = nil
}

// twentyTables is what a user of pgtestdb alone would write.
type twentyTables struct{}

func (twentyTables) Hash() (string, error) { return "twenty tables", nil }

func (twentyTables) Migrate(ctx context.Context, db *sql.DB, _ pgtestdb.Config) error {
	for i := range 20 {
		if _, err := db.ExecContext(ctx,
			fmt.Sprintf("create table t%d (id bigint primary key, v text)", i)); err != nil {
			return err
		}
	}
	return nil
}
