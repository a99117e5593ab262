package pgmigrate_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgmigrate"
)

// TestInterruptedAnywhere ends the session at random points of a run, again and again. However often that happens, each
// migration must be applied once, and a result must never claim a step that is not in the database.
func TestInterruptedAnywhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const migrations, interruptions = 12, 60
	var pairs []string
	for n := 1; n <= migrations; n++ {
		pairs = append(pairs, fmt.Sprintf("%d_m.sql", n),
			fmt.Sprintf("insert into log values (%d);\ncreate table t%d (id int primary key);\ncreate index on t%d (id);", n, n, n))
	}
	m := migrator(t, b, files(pairs...), pgmigrate.WithLogger(nil))
	empty := func() { b.exec(t, "drop schema public cascade; create schema public; create table log (n int unique)") }
	empty()

	type outcome struct {
		result pgmigrate.Result
		err    error
	}
	for count := 0; count < interruptions; {
		done := make(chan outcome, 1)
		go func() { r, err := m.Up(t.Context()); done <- outcome{r, err} }()
		// The delay is the fault, not a synchronisation: somewhere in a run of some milliseconds.
		time.Sleep(rand.N(12 * time.Millisecond))
		b.exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'pgmigrate'")
		o := <-done

		applied := ask[int32](t, b, "select count(*) from log")
		if o.result.To > applied {
			t.Fatalf("the result says version %d, and %d are applied: %v", o.result.To, applied, o.err)
		}
		var failed *pgmigrate.MigrationError
		if errors.As(o.err, &failed) && failed.State != pgmigrate.StateUnknown {
			t.Fatalf("the session was ended, not the statement: %v", failed)
		}
		if o.err != nil {
			count++
			continue
		}
		if v := ask[int32](t, b, "select version from schema_version"); v != migrations || applied != migrations || o.result.To != migrations {
			t.Fatalf("a run without an error ended at %d, recorded %d, applied %d", o.result.To, v, applied)
		}
		empty()
	}
}
