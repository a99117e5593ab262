package pgtest_test

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtest"
)

func ExampleNew() {
	_ = func(t *testing.T) {
		t.Parallel()
		pool := pgtest.New(t,
			pgtest.Seed(os.DirFS("testdata/seeds")),
			pgtest.Config(func(cfg *pgxpool.Config) { cfg.MaxConns = 2 }))
		if _, err := pool.Exec(t.Context(), "delete from sites"); err != nil {
			t.Fatal(err)
		}
	}
}

// What does the program do if the answer to its COMMIT is lost?
func ExampleCut() {
	_ = func(t *testing.T) {
		sw := pgtest.Cut(t, pgtest.URL(t))
		pool, err := pgxpool.New(t.Context(), sw.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		sw.CutCommits(1)
		// … call the code under test with pool, and look at the rows
	}
}
