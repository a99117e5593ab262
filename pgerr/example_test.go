package pgerr_test

import (
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgerr"
)

func ExampleOf() {
	err := fmt.Errorf("create site: %w", &pgconn.PgError{Code: "23505", Message: "duplicate key"})
	switch pgerr.Of(err) {
	case "":
		fmt.Println("created")
	case pgerr.Constraint:
		fmt.Println("409 that name is taken")
	case pgerr.Saturated, pgerr.Timeout, pgerr.StartingUp:
		fmt.Println("503 try again")
	default:
		fmt.Println("500")
	}
	fmt.Println(pgerr.Of(pgx.ErrNoRows))
	// Output:
	// 409 that name is taken
	// not_found
}

func ExampleRetryable() {
	serialization := &pgconn.PgError{Code: "40001"}
	duplicate := &pgconn.PgError{Code: "23505"}
	fmt.Println(pgerr.Retryable(serialization), pgerr.Retryable(duplicate))
	// Output: true false
}

func ExampleStartup() {
	starting := &pgconn.PgError{Code: "57P03"}
	wrongPassword := &pgconn.PgError{Code: "28P01"}
	fmt.Println(pgerr.Startup(starting), pgerr.Startup(wrongPassword))
	// Output: true false
}
