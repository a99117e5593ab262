package harness

import (
	"context"
	"errors"
	"fmt"
)

// Test is a test without package testing, to measure what happens in one and to use test kits
// outside of tests.
type Test struct {
	Ctx      context.Context
	cleanups []func()
	failed   error
}

func (t *Test) Helper()                  {}
func (t *Test) Name() string             { return "bench" }
func (t *Test) Context() context.Context { return t.Ctx }
func (t *Test) Cleanup(fn func())        { t.cleanups = append(t.cleanups, fn) }
func (t *Test) Failed() bool             { return t.failed != nil }
func (t *Test) Logf(string, ...any)      {}
func (t *Test) Errorf(format string, a ...any) {
	t.failed = errors.Join(t.failed, fmt.Errorf(format, a...))
}
func (t *Test) Fatalf(format string, a ...any) { t.Errorf(format, a...); panic(t.failed) }
func (t *Test) Skipf(format string, a ...any)  { t.Fatalf(format, a...) }

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
