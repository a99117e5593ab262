package pgpool_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// The life of a service's pool: connect, work until ctx ends, shut down within a limit.
func ExampleConnect() {
	run := func(ctx context.Context) error {
		cfg, end := configured() // cfg, err := pgconfig.Load()
		defer end()
		pool, err := pgpool.Connect(ctx, cfg)
		if err != nil {
			return err
		}
		var page string
		serveErr := pool.QueryRow(ctx, `select 'Home'`).Scan(&page)
		fmt.Println(page)

		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return errors.Join(serveErr, pgpool.Shutdown(ctx, pool))
	}
	fmt.Println(run(context.Background()))
	// Output:
	// Home
	// <nil>
}

// Without pgconfig, options set what a pgxpool.Config has no field for.
func ExampleConnectConfig() {
	example := &example{}
	defer example.end()
	cfg, err := pgxpool.ParseConfig(pgserver.Database(example))
	if err != nil {
		log.Print("the connection string cannot be parsed") // pgx's error may quote the password
		return
	}
	cfg.MaxConns = 10
	pool, err := pgpool.ConnectConfig(context.Background(), cfg,
		pgpool.WithStartupTimeout(30*time.Second),
		pgpool.WithAcquireTimeout(2*time.Second),
		pgpool.WithServerLimits(pgpool.ServerLimits{Statement: 10 * time.Second, Lock: 2 * time.Second}),
	)
	if err != nil {
		log.Print(err) // a *StartupError: what happened, and what to do
		return
	}
	defer pgpool.Shutdown(context.Background(), pool)

	var statement, lock string
	err = pool.QueryRow(context.Background(),
		`select current_setting('statement_timeout'), current_setting('lock_timeout')`).Scan(&statement, &lock)
	fmt.Println(statement, lock, err)
	// Output: 10s 2s <nil>
}

// A script needs nothing but DATABASE_URL.
func ExampleDefault() {
	example := &example{}
	defer example.end()
	defer restore("DATABASE_URL", pgserver.Database(example))()

	pool, err := pgpool.Default(context.Background())
	if err != nil {
		log.Print(err)
		return
	}
	defer pgpool.Shutdown(context.Background(), pool)
	again, err := pgpool.Default(context.Background())
	fmt.Println(again == pool, err)
	// Output: true <nil>
}

// restore sets a variable and returns a function that resets it.
func restore(key, value string) func() {
	before, was := os.LookupEnv(key)
	if err := os.Setenv(key, value); err != nil {
		panic(err)
	}
	return func() {
		if !was {
			os.Unsetenv(key)
			return
		}
		os.Setenv(key, before)
	}
}

// Shutdown names the callers that still hold a connection at its deadline, and disconnects them.
func ExampleShutdown() {
	cfg, end := configured()
	defer end()
	pool, err := pgpool.Connect(context.Background(), cfg)
	if err != nil {
		log.Print(err)
		return
	}
	forgotten, err := pool.Begin(context.Background())
	if err != nil {
		log.Print(err)
		return
	}
	defer forgotten.Rollback(context.Background())

	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var left *pgpool.ShutdownError
	if err := pgpool.Shutdown(ctx, pool); errors.As(err, &left) {
		fmt.Println(left.InUse, "still in use, last statement:", left.Holders[0].SQL)
	}
	// Output: 1 still in use, last statement: begin
}

// Holders lists who holds connections, for a page that only operators see.
func ExampleHolders() {
	cfg, end := configured()
	defer end()
	pool, err := pgpool.Connect(context.Background(), cfg)
	if err != nil {
		log.Print(err)
		return
	}
	defer pgpool.Shutdown(context.Background(), pool)
	rows, err := pool.Query(context.Background(), `select title from (values (1)) page (title)`)
	if err != nil {
		log.Print(err)
		return
	}
	for _, holder := range pgpool.Holders(pool) {
		fmt.Println(holder.SQL) // and PID, Age, Stack
	}
	rows.Close()
	fmt.Println(len(pgpool.Holders(pool)))
	// Output:
	// select title from (values (1)) page (title)
	// 0
}

// A busy pool is answered with 503, which a client may try again, and not with 500.
func ExampleAcquireError() {
	cfg, end := configured()
	defer end()
	cfg.MaxConns = 1
	pool, err := pgpool.Connect(context.Background(), cfg)
	if err != nil {
		log.Print(err)
		return
	}
	defer pgpool.Shutdown(context.Background(), pool)
	tx, err := pool.Begin(context.Background())
	if err != nil {
		log.Print(err)
		return
	}
	defer tx.Rollback(context.Background())

	// Or DATABASE_ACQUIRE_TIMEOUT, which is 5 s.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = pool.Exec(ctx, `select 'Home'`)
	var busy *pgpool.AcquireError
	if errors.As(err, &busy) && errors.Is(err, pgpool.ErrExhausted) {
		fmt.Printf("503: %d of %d in use, longest by %q\n", busy.InUse, busy.Max, busy.Oldest[0].SQL)
	}
	// Output: 503: 1 of 1 in use, longest by "begin"
}

// Connect fails at once if waiting cannot help, and says what to do.
func ExampleStartupError() {
	cfg, end := configured()
	end() // the database is gone
	_, err := pgpool.Connect(context.Background(), cfg, pgpool.WithLogger(nil))
	var failed *pgpool.StartupError
	if errors.As(err, &failed) {
		fmt.Println(failed.Attempts, failed.Category())
		fmt.Println(failed.Hint())
	}
	// Output:
	// 1 config
	// check the database name and the parameters of the connection string (DATABASE_URL); a missing database has to be created first
}
