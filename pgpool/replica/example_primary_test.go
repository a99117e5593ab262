package replica_test

import (
	"context"
	"fmt"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// configured returns what pgconfig.Load returns in a service whose replica URL leads to the primary
// by mistake, and a function that drops the database.
func configured() (cfg pgconfig.Config, end func()) {
	e := &example{}
	url := pgserver.Database(e)
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: map[string]string{
		"APP_ENV": "test", "DATABASE_URL": url, "DATABASE_REPLICA_URLS": url,
	}})
	if err != nil {
		e.Fatalf("%v", err)
	}
	return cfg, e.end
}

// example takes the place of a testing.T, which an example does not have.
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
