package pgserver_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// In a test, t is its *testing.T.
func ExampleDatabase() {
	t := &example{}
	defer t.end()
	conn, err := pgx.Connect(t.Context(), pgserver.Database(t)) // an empty database, dropped at the end
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "create table pages (title text)")
	fmt.Println(err)
	// Output: <nil>
}

// A program that needs a server for as long as it runs.
func ExampleAcquire() {
	ctx := context.Background()
	server, err := pgserver.Acquire(ctx,
		pgserver.Options{Settings: map[string]string{"max_prepared_transactions": "10"}})
	if err != nil {
		fmt.Println(err) // a *pgserver.NotFoundError says how to install PostgreSQL here
		return
	}
	defer server.Release()
	conn, err := pgx.Connect(ctx, server.URL())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close(ctx)
	var setting string
	err = conn.QueryRow(ctx, "show max_prepared_transactions").Scan(&setting)
	fmt.Println(setting, err)
	// Output: 10 <nil>
}

// Where the programs of PostgreSQL are that Acquire would use.
func ExampleBinaries() {
	dir, err := pgserver.Binaries(context.Background(), pgserver.Options{})
	fmt.Println(dir != "", err)
	// Output: true <nil>
}

// A developer's machine: Start makes a server that stays up and keeps what is in it. URL finds it.
func ExampleDev() {
	dev := pgserver.Dev{Name: "pages", Database: "pages"}
	_, err := dev.URL()
	if errors.Is(err, pgserver.ErrNotRunning) {
		fmt.Println("to be started: url, err := dev.Start(ctx)")
	}
	// Output: to be started: url, err := dev.Start(ctx)
}

// example stands for a *testing.T.
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
