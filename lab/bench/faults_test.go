package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// cell returns what a side was seen to do in the fault whose name begins so.
func (t *faultTable) cell(tt *testing.T, fault, side string) cell {
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

// want is how a cell begins: of ours, and of the control where it is certain.
type want struct{ fault, side, seen string }

func (t *faultTable) check(tt *testing.T, wants ...want) {
	tt.Helper()
	t.print(&report{Writer: tt.Output()})
	for _, w := range wants {
		if c := t.cell(tt, w.fault, w.side); !strings.HasPrefix(c.seen, w.seen) {
			tt.Errorf("%s, %s: %s; want %s", w.fault, w.side, c.seen, w.seen)
		}
	}
}

func testStage(t *testing.T) *stage {
	t.Helper()
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	s, err := newStage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	// Above the 5 s that pgpool waits for a connection; what is killed is noticed in 2 s.
	s.limit, s.hold = 10*time.Second, 8*time.Second
	return s
}

func TestServerFaults(t *testing.T) {
	t.Parallel()
	s := testStage(t)
	table, err := s.serverFaults(t.Context(), s.acts()[:2])
	if err != nil {
		t.Fatal(err)
	}
	table.check(t, want{"it comes 2 s after", "pgpool", "starts"})
	if c := table.cell(t, "it was restarted", "pgpool"); c.grade > told {
		t.Errorf("after a restart: %s", c.seen)
	}
}

func TestCallFaults(t *testing.T) {
	t.Parallel()
	tables, err := testStage(t).callFaults(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	connection, transaction, configuration, migration := &tables[0], &tables[1], &tables[2], &tables[3]
	connection.check(t,
		want{"all connections are in use", "pgpool", "`ErrExhausted`"},
		want{"all connections are in use", "pgxpool", "no end"},
		want{"in a transaction, a query", "pgpool", "`ErrExhausted`"},
		want{"the network cut the answer", "pgpool", "broken connection, applied once"},
		want{"the network cut the answer", "database/sql", "succeeds, applied 2 times"},
		want{"ctx ends while", "pgpool", "returns"},
	)
	if c := connection.cell(t, "the network cut 10", "pgpool"); c.grade > told {
		t.Errorf("after a cut: %s", c.seen)
	}
	transaction.check(t,
		want{"a transaction is begun on the pool", "pgtx.Run", "succeeds, applied once"},
		want{"a transaction is begun on the pool", "pgx.BeginFunc", "no end"},
		want{"the connection is cut between", "pgtx.Run", "succeeds, applied once"},
		want{"the connection is cut between", "pgx.BeginFunc", "broken connection, not applied"},
		want{"the connection is cut after COMMIT", "pgtx.Run", "`CommitUnknownError`, applied once"},
		want{"the connection is cut after COMMIT", "pgtx, VerifyCommit", "succeeds, applied once"},
		want{"the connection is cut after COMMIT", "BeginFunc, any error again", "succeeds, applied 2 times"},
		want{"serialization failure", "pgtx.Run", "succeeds, applied once"},
		want{"serialization failure", "pgx.BeginFunc", "error 40001, not applied"},
		want{"deadlock", "pgtx.Run", "both succeed"},
		want{"deadlock", "pgx.BeginFunc", "one gets error 40P01"},
		want{"its function panics", "pgtx.Run", "panics, not applied; next call"},
		want{"ctx is canceled", "pgtx.Run", "`context.Canceled`"},
		want{"its function ignores", "pgtx.Run", "`SwallowedError`, not applied, names the cause"},
	)
	configuration.check(t, want{"its password has a /", "pgxpool", "the error shows the password"})
	for _, row := range configuration.rows {
		if row.cells[0].grade != right {
			t.Errorf("%s: %s", row.name, row.cells[0].seen)
		}
	}
	migration.check(t,
		want{"kill -9", "pgmigrate", "completes"},
		want{"the same, without", "pgmigrate", "refuses"},
		want{"the same, without", "goose", "reports success, rows {1,1,2,2"},
		want{"the same, with statements", "pgmigrate", "refuses"},
		want{"a file was edited", "pgmigrate", "an error that names the file"},
		want{"a file was edited", "tern", "not noticed"},
	)
}

// TestMigratingProcess is the process that a fault kills.
func TestMigratingProcess(t *testing.T) {
	if os.Getenv(migratingProcess) == "" {
		t.Skip("the other tests start it")
	}
	if err := migrateAsProcess(t.Context()); err != nil {
		t.Fatal(err)
	}
}
