package pgtest_test

import (
	"fmt"
	"sync"
	"testing"
)

// recorder is a test whose end and failures can be watched.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	cleanups []func()
	failures []string
	logs     []string
}

type fatal struct{}

func (r *recorder) Cleanup(fn func()) { r.cleanups = append(r.cleanups, fn) }

func (r *recorder) Failed() bool { return len(r.failures) > 0 }

func (r *recorder) Logf(format string, args ...any) {
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(fatal{})
}

// run runs fn like a test and then its cleanups, and returns what failed.
func (r *recorder) run(fn func()) []string {
	guarded := func(fn func()) {
		defer func() {
			if p := recover(); p != nil && p != any(fatal{}) {
				panic(p)
			}
		}()
		fn()
	}
	guarded(fn)
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		guarded(r.cleanups[i])
	}
	return r.failures
}
