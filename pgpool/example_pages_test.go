package pgpool_test

import (
	"context"
	"fmt"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// configured is what pgconfig.Load gives a service, here of an empty database of the example's own,
// and what drops that.
func configured() (cfg pgconfig.Config, end func()) {
	e := &example{}
	cfg, err := pgconfig.Parse(pgserver.Database(e))
	if err != nil {
		e.Fatalf("%v", err)
	}
	return cfg, e.end
}

// example is what an example is to pgserver: it has no testing.T.
type example struct{ cleanups []func() }

func (*example) Helper()                           {}
func (*example) Name() string                      { return "Example" }
func (*example) Context() context.Context          { return context.Background() }
func (e *example) Cleanup(fn func())               { e.cleanups = append(e.cleanups, fn) }
func (*example) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) } // is not in the Output
func (*example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (e *example) end() {
	for i := len(e.cleanups) - 1; i >= 0; i-- {
		e.cleanups[i]()
	}
}
