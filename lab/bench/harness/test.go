package harness

import (
	"context"
	"errors"
	"fmt"
)

// Test is a test without package testing, to measure code in a test and to use test kits outside of
// tests.
type Test struct {
	Ctx      context.Context
	cleanups []func()
	failed   error
}

// Helper does nothing.
func (t *Test) Helper() {}

// Name returns the name of all tests.
func (t *Test) Name() string { return "bench" }

// Context returns Ctx.
func (t *Test) Context() context.Context { return t.Ctx }

// Cleanup calls fn at the end of Run.
func (t *Test) Cleanup(fn func()) { t.cleanups = append(t.cleanups, fn) }

// Failed reports whether the test has failed.
func (t *Test) Failed() bool { return t.failed != nil }

// Logf does nothing.
func (t *Test) Logf(string, ...any) {}

// Errorf fails the test.
func (t *Test) Errorf(format string, a ...any) {
	t.failed = errors.Join(t.failed, fmt.Errorf(format, a...))
}

// Fatalf fails the test and ends it.
func (t *Test) Fatalf(format string, a ...any) { t.Errorf(format, a...); panic(t.failed) }

// Skipf is Fatalf, because a comparison must not skip.
func (t *Test) Skipf(format string, a ...any) { t.Fatalf(format, a...) }

// Run runs fn as a test, with its cleanups.
func (t *Test) Run(fn func() error) (err error) {
	failed := t.Try(func() { err = fn() })
	return errors.Join(err, failed, t.Try(t.end))
}

// Try runs fn and returns the failure of the test in it.
func (t *Test) Try(fn func()) (err error) {
	defer func() {
		if p := recover(); p != nil && p != any(t.failed) {
			panic(p)
		}
		err, t.failed = t.failed, nil
	}()
	fn()
	return nil
}

func (t *Test) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
	t.cleanups = nil
}
