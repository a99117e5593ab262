package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// faults throws the same faults at the modules and at the usual ways without them, on a server of
// its own. Every cell is what this run saw; there are no rounds.
func faults(ctx context.Context, r *report, _ int) error {
	if os.Getenv(migratingProcess) != "" {
		return migrateAsProcess(ctx)
	}
	stage, err := newStage(ctx)
	if err != nil {
		return err
	}
	defer stage.end()
	stage.limit = 12 * time.Second // above the 5 s that pgpool waits for a connection
	table, err := stage.serverFaults(ctx, stage.acts())
	if err != nil {
		return err
	}
	table.print(r)
	stage.limit, stage.hold = 33*time.Second, 10*time.Second // above the 30 s of pgconfig's statement_timeout
	tables, err := stage.callFaults(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		t.print(r)
	}
	return nil
}

// grade orders what was seen, the best first.
type grade int

const (
	right   grade = iota // nobody notices, or nothing better can be done
	told                 // an error that says so, in time, and it is true
	unclear              // an error that leaves open what happened, or what to do
	wrong                // wrong data, no end, a secret shown
)

// cell is what was seen of a side in a fault.
type cell struct {
	seen string
	grade
}

type faultRow struct {
	name  string
	cells []cell
}

type faultTable struct {
	title string
	sides []string
	ours  int // so many of the sides, from the first; the first is the one whose defaults are judged
	rows  []faultRow
	notes []string
}

// print writes the table, and below it first where the modules' defaults do not do better than
// another side.
func (t *faultTable) print(r *report) {
	r.printf("\n%s\n\n| |", t.title)
	for _, s := range t.sides {
		r.printf(" %s |", s)
	}
	r.printf("\n|%s\n", strings.Repeat("---|", len(t.sides)+1))
	for _, row := range t.rows {
		r.printf("| %s |", row.name)
		for _, c := range row.cells {
			r.printf(" %s |", c.seen)
		}
		r.printf("\n")
	}
	var worse, nobody, same []string
	for _, row := range t.rows {
		best := wrong
		for _, c := range row.cells[t.ours:] {
			best = min(best, c.grade)
		}
		switch own := row.cells[0].grade; {
		case own > best:
			worse = append(worse, row.name)
		case own < best: // the modules do better
		case own == right:
			same = append(same, row.name)
		default:
			nobody = append(nobody, row.name)
		}
	}
	r.printf("\n%s does worse than another side: %s.\nNo better than another, and not well: %s.\nAs well as "+
		"another: %s.\n",
		t.sides[0], listed(worse), listed(nobody), listed(same))
	for _, n := range t.notes {
		r.printf("- %s\n", n)
	}
}

func listed(names []string) string {
	if len(names) == 0 {
		return "nowhere"
	}
	return strings.Join(names, "; ")
}

// stage is the server on which the faults happen, and how long they may last.
type stage struct {
	server     *ownServer
	limit      time.Duration // of what has no end
	hold       time.Duration // how long the statement takes in which a migration is killed; less than limit
	thawServer func() error  // what stopped processes need
	scenes     atomic.Int64
}

// The role has to say its password on the stage's server.
const (
	passwordRole = "asked"
	password     = "cherry-tree-47"
)

func newStage(ctx context.Context) (*stage, error) {
	server, err := startServer(ctx)
	if err != nil {
		return nil, err
	}
	err = server.askPassword(passwordRole, password)
	if err == nil {
		err = server.configure(ctx, map[string]string{"max_connections": "400", "fsync": "off"})
	}
	if err != nil {
		server.remove()
		return nil, err
	}
	return &stage{server: server}, nil
}

func (s *stage) end() { s.server.remove() }

func unparsable(err error) error { // pgx's error may hold a password
	if err == nil {
		return nil
	}
	return errors.New("the server's URL cannot be parsed")
}

func (s *stage) adminPool(ctx context.Context) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(s.server.url)
	if err != nil {
		return nil, unparsable(err)
	}
	cfg.MaxConns = 16
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec // the tables come and go
	return pgxpool.NewWithConfig(ctx, cfg)
}
