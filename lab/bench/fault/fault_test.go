package fault

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/lab/bench/harness"
)

// cell returns a side's outcome for the fault with that prefix.
func (t *table) cell(tt *testing.T, fault, side string) cell {
	tt.Helper()
	column := slices.Index(t.sides, side)
	for _, row := range t.rows {
		if column >= 0 && strings.HasPrefix(row.name, fault) {
			return row.cells[column]
		}
	}
	tt.Fatalf("%s: no fault %q or no side %q", t.title, fault, side)
	return cell{}
}

// check has the beginnings of cells: fault, side, seen.
func (t *table) check(tt *testing.T, wants ...[3]string) {
	tt.Helper()
	t.print(&harness.Report{Out: tt.Output()})
	for _, w := range wants {
		if c := t.cell(tt, w[0], w[1]); !strings.HasPrefix(c.seen, w[2]) {
			tt.Errorf("%s, %s: %s; want %s", w[0], w[1], c.seen, w[2])
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	s := newStage(t)
	// Longer than the 5 s that pgpool waits for a connection, and than the 2 s that pgmigrate takes
	// to notice a killed process.
	s.limit, s.hold = 10*time.Second, 8*time.Second
	tables, err := s.play(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server, connection, transaction, migration := tables[0], tables[1], tables[2], tables[3]
	server.check(t,
		[3]string{"it comes 2 s after", "pgpool", "starts"},
		[3]string{"it comes 2 s after", "pgxpool", "does not start"},
		[3]string{"it is frozen, the connection was idle", "pgpool", "`ErrNotAnswering`"},
		[3]string{"it is frozen, the connection was idle", "pgxpool", "no end"},
	)
	if c := server.cell(t, "it ended its", "pgpool"); c.grade > told {
		t.Errorf("after the end of the sessions: %s", c.seen)
	}
	connection.check(t,
		[3]string{"a transaction has the only", "pgpool", "`ErrExhausted`"},
		[3]string{"a transaction has the only", "pgxpool", "no end"},
		[3]string{"the network cut the answer", "pgpool", "broken connection, applied once"},
		[3]string{"the network cut the answer", "database/sql", "succeeds, applied 2 times"},
	)
	if c := connection.cell(t, "the network cut 10", "pgpool"); c.grade > told {
		t.Errorf("after a cut: %s", c.seen)
	}
	transaction.check(t,
		[3]string{"a transaction is begun on the pool", "pgtx.Run", "succeeds, applied once"},
		[3]string{"a transaction is begun on the pool", "pgx.BeginFunc", "no end"},
		[3]string{"the connection is cut between", "pgtx.Run", "succeeds, applied once"},
		[3]string{"the connection is cut between", "pgx.BeginFunc", "broken connection, not applied"},
		[3]string{"the connection is cut after COMMIT", "pgtx.Run", "`CommitUnknownError`, applied once"},
		[3]string{"the connection is cut after COMMIT", "pgtx, VerifyCommit", "succeeds, applied once"},
		[3]string{"the connection is cut after COMMIT", "BeginFunc, any error again", "succeeds, applied 2 times"},
		[3]string{"serialization failure", "pgtx.Run", "succeeds, applied once"},
		[3]string{"serialization failure", "pgx.BeginFunc", "error 40001, not applied"},
		[3]string{"its function ignores", "pgtx.Run", "`SwallowedError`, not applied, names the cause"},
	)
	migration.check(t,
		[3]string{"kill -9", "pgmigrate", "completes"},
		[3]string{"the same, without", "pgmigrate", "refuses"},
		[3]string{"the same, without", "goose", "reports success, rows {1,1,2,2"},
		[3]string{"the same, with statements", "pgmigrate", "refuses"},
		[3]string{"a file was edited", "pgmigrate", "an error that names the file"},
		[3]string{"a file was edited", "tern", "not noticed"},
	)
}

// TestChild is the process that a fault kills.
func TestChild(t *testing.T) {
	if os.Getenv(childTool) == "" {
		t.Skip("the other tests start it")
	}
	if err := migrateAsChild(t.Context()); err != nil {
		t.Fatal(err)
	}
}
