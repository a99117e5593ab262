package pghealth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// openPool gives an example a pool on its own database, and a function that closes both.
func openPool() (pool *pgxpool.Pool, end func()) {
	e := &example{}
	pool, err := pgxpool.New(context.Background(), pgserver.Database(e))
	if err != nil {
		e.Fatalf("%v", err)
	}
	return pool, func() { pool.Close(); e.end() }
}

// ask prints what a prober sees: the HTTP status and the status in the answer.
func ask(h http.Handler) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	var answer struct{ Status string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		fmt.Println(err)
	}
	fmt.Println(w.Code, answer.Status)
}

// example stands in for the testing.T that an example does not have.
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
