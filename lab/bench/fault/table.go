package fault

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtx"
)

// grade orders the outcomes, best first.
type grade int

const (
	right   grade = iota // no caller notices, or nothing better is possible
	told                 // a correct error, in time
	unclear              // an error that does not say what happened, or what to do
	wrong                // wrong data, no end, a secret shown
)

// cell is the outcome of a fault for one side.
type cell struct {
	seen string
	grade
}

type row struct {
	name  string
	cells []cell
}

type table struct {
	title string
	sides []string
	ours  int // number of our sides, which come first; the first one, with defaults, is judged
	rows  []row
	notes []string
}

func newTable(title string, ours int, sides []side) *table {
	t := &table{title: title, ours: ours}
	for _, s := range sides {
		t.sides = append(t.sides, s.name)
	}
	return t
}

// add adds a row and returns its cells, to be filled in later.
func (t *table) add(name string) []cell {
	cells := make([]cell, len(t.sides))
	t.rows = append(t.rows, row{name, cells})
	return cells
}

// print writes the table, and below it the faults for which the modules' defaults do no better than
// another side.
func (t *table) print(r *harness.Report) {
	var lines [][]string
	var worse, nobody, same []string
	for _, row := range t.rows {
		line, best := []string{row.name}, wrong
		for i, c := range row.cells {
			line = append(line, c.seen)
			if i >= t.ours {
				best = min(best, c.grade)
			}
		}
		lines = append(lines, line)
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
	r.Grid(t.title, append([]string{""}, t.sides...), lines...)
	r.Printf("\n%s does worse than another side: %s.\nNo better than another, and not well: %s.\nAs well as another: "+
		"%s.\n", t.sides[0], listed(worse), listed(nobody), listed(same))
	for _, n := range t.notes {
		r.Printf("- %s\n", n)
	}
}

func listed(names []string) string {
	if len(names) == 0 {
		return "nowhere"
	}
	return strings.Join(names, "; ")
}

// said names an error in a word or two, from facts that a program could find in it.
func said(err error) string {
	var (
		server   *pgconn.PgError
		unknown  *pgtx.CommitUnknownError
		swallows *pgtx.SwallowedError
		dial     *net.OpError
		network  net.Error
	)
	switch {
	case err == nil:
		return "succeeds"
	case errors.As(err, &unknown):
		return "`CommitUnknownError`"
	case errors.As(err, &swallows):
		return "`SwallowedError`"
	case errors.Is(err, pgpool.ErrExhausted):
		return "`ErrExhausted`"
	case errors.Is(err, pgpool.ErrNotAnswering):
		return "`ErrNotAnswering`"
	case errors.Is(err, pgx.ErrTxCommitRollback):
		return "`ErrTxCommitRollback`"
	case errors.As(err, &server):
		return "error " + server.Code
	case errors.Is(err, context.Canceled):
		return "`context.Canceled`"
	case errors.As(err, &dial) && dial.Op == "dial":
		return "cannot connect"
	case errors.Is(err, driver.ErrBadConn):
		return "`ErrBadConn`"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network),
		strings.Contains(err.Error(), "conn closed"):
		return "broken connection"
	default:
		return "an error"
	}
}

// after formats a duration to the tenth of a second. On a shared machine more digits mean nothing.
func after(d time.Duration) string {
	if d < 100*time.Millisecond {
		return "at once"
	}
	return fmt.Sprintf("after %.1f s", d.Seconds())
}

// outcomeOf compares the caller's result with the database.
func outcomeOf(err error, first, second int) cell {
	c := cell{said(err) + ", ", unclear}
	switch {
	case first != second:
		return cell{c.seen + fmt.Sprintf("half applied (%d and %d)", first, second), wrong}
	case first > 1:
		return cell{c.seen + fmt.Sprintf("applied %d times", first), wrong}
	case first == 1:
		c.seen += "applied once"
	default:
		c.seen += "not applied"
	}
	switch {
	case err == nil && first == 1:
		c.grade = right
	case err == nil:
		c.grade = wrong // reported as committed, but missing
	case first == 0 || said(err) == "`CommitUnknownError`":
		c.grade = told
	}
	return c
}

func (s *scene) outcome(ctx context.Context, told error) (cell, error) {
	first, second, err := s.applied(ctx)
	return outcomeOf(told, first, second), err
}
