package pgquery_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// example stands in for the testing.T that an example does not have.
type example struct{ ends []func() }

func (e *example) Helper()                   {}
func (e *example) Name() string              { return "Example" }
func (e *example) Context() context.Context  { return context.Background() }
func (e *example) Cleanup(fn func())         { e.ends = append(e.ends, fn) }
func (e *example) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (e *example) Errorf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (e *example) database() *pgxpool.Pool {
	pool, err := pgxpool.New(e.Context(), pgserver.Database(e))
	if err == nil {
		_, err = pool.Exec(e.Context(), schema)
	}
	if err != nil {
		panic(err)
	}
	e.Cleanup(pool.Close)
	return pool
}

func (e *example) end() {
	for i := range e.ends {
		e.ends[len(e.ends)-1-i]()
	}
}
