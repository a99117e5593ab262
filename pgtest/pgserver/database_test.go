package pgserver_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

func TestDatabaseIsEmptyAndOnesOwn(t *testing.T) {
	t.Parallel()
	for range 2 {
		execute(t, pgserver.Database(t), "create table marker (id int)") // fails in a database that is used twice
	}
}

// The database goes at the end of the test, even with a connection left open in a transaction.
func TestDatabaseIsDropped(t *testing.T) {
	t.Parallel()
	s := acquire(t, pgserver.Options{})
	var name string
	var leaked *pgx.Conn
	t.Run("user with a leak/ÄÖ and a name that is far longer than PostgreSQL allows for names", func(t *testing.T) {
		conn, err := pgx.Connect(context.Background(), pgserver.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		leaked = conn
		if _, err := conn.Begin(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRow(context.Background(), "select current_database()").Scan(&name); err != nil {
			t.Fatal(err)
		}
	})
	defer leaked.Close(context.Background())
	if got := query(t, s.URL(), "select count(*)::text from pg_database where datname = '"+name+"'"); got != "0" ||
		name == "" {
		t.Errorf("%s databases %q", got, name)
	}
}
