package pgtest_test

import (
	"context"
	"fmt"
	"testing/fstest"
)

// pageFiles is what os.DirFS("migrations") might be.
var pageFiles = fstest.MapFS{
	"001_pages.sql": {Data: []byte("create table pages (id int primary key, title text not null);")},
}

// test is the t of an example, which has no *testing.T, and end what happens when the test ends.
func test() (t *example, end func()) {
	t = &example{}
	return t, func() {
		for i := len(t.cleanups) - 1; i >= 0; i-- {
			t.cleanups[i]()
		}
	}
}

type example struct {
	failed   bool
	cleanups []func()
}

func (*example) Helper()                           {}
func (*example) Name() string                      { return "Example" }
func (*example) Context() context.Context          { return context.Background() }
func (e *example) Cleanup(fn func())               { e.cleanups = append(e.cleanups, fn) }
func (e *example) Failed() bool                    { return e.failed }
func (*example) Logf(string, ...any)               {}
func (*example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (e *example) Errorf(format string, args ...any) {
	e.failed = true
	fmt.Printf(format+"\n", args...) // is not in the Output
}
