package chaos

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgerr"
)

// Round holds the results of one round.
type Round struct {
	Fault   string
	Started time.Time

	Ours    []Side
	Control Side
	// Floor is the longest time in which no node took a write.
	Floor time.Duration

	Reads         int
	ReadPause     time.Duration // the longest time without one
	ReadErrors    map[pgerr.Category]int
	ReadsPrimary  int // led to the primary, as no replica was in use
	Checks        int // reads of what was written before
	ChecksFailed  int // with an error, as reads may
	Violations    int
	Events        int
	EventsResync  int // that came after a reconnect
	EventDelay    time.Duration
	Listens       int // connections of the listener
	MigrationRuns int
	MigrationMet  string // what the run that met the fault failed with
	Readiness     Readiness
	// FailedConns counts the pool's connections on which a statement failed because the server was
	// gone. FailedWorst is the most failures on one of them.
	FailedConns, FailedWorst int

	// Mended says what an operator's command had to repair. It does not break the round.
	Mended string

	// Broken are the invariants that do not hold.
	Broken []string
}

// Side holds the results of one way of making transfers.
type Side struct {
	Name    string
	Verdict Verdict
	Pause   time.Duration // the longest time without an acknowledgement
	Errors  map[pgerr.Category]int
	Unsure  map[pgerr.Category]int // why outcomes could not be found out
}

func (r *Round) broke(format string, args ...any) {
	r.Broken = append(r.Broken, fmt.Sprintf(format, args...))
}

// audit judges on the server that is primary in the end.
func (r *round) audit(ctx context.Context, conn *pgx.Conn, result *Round) error {
	for _, s := range append(r.ours, r.control) {
		book, err := s.book(ctx, conn)
		if err != nil {
			return err
		}
		side := Side{Name: s.Name, Verdict: Judge(s.told, book), Errors: s.errs.read(), Unsure: s.why.read()}
		if s == r.control {
			result.Control = side
			continue
		}
		for _, broken := range side.Verdict.Broken() {
			result.broke("%s: %s", s.Name, broken)
		}
		result.Ours = append(result.Ours, side)
	}
	if err := r.migration.check(ctx, conn); err != nil {
		result.broke("migration: %v", err)
	}
	return r.auditEvents(ctx, conn, result)
}

// catchUpLimit is for the listener: its connection may have ended without a word, which TCP
// keepalive finds within a minute.
const catchUpLimit = 75 * time.Second

func (r *round) auditEvents(ctx context.Context, conn *pgx.Conn, result *Round) error {
	rows, err := conn.Query(ctx, `select n from `+r.events.table)
	if err != nil {
		return err
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	limit := time.Now().Add(catchUpLimit)
	for r.events.missed(there) > 0 && time.Now().Before(limit) {
		sleep(ctx, 50*time.Millisecond)
	}
	if missed := r.events.missed(there); missed > 0 {
		result.broke("%d events are there and the listener never came to know of them", missed)
	}
	kept := map[int64]bool{}
	for _, n := range there {
		kept[n] = true
	}
	lost := 0
	for n := range r.events.written {
		if !kept[n] {
			lost++
		}
	}
	if lost > 0 {
		result.broke("%d acknowledged events are lost", lost)
	}
	result.Events, result.EventsResync, result.EventDelay = len(there), r.events.resync, r.events.delay()
	if listener := r.events.listener.Load(); listener != nil {
		result.Listens = listener.Connects()
	}
	return nil
}

// measure fills in what was measured until the load ended.
func (r *round) measure(result *Round, ended time.Time) {
	for i, s := range r.ours {
		result.Ours[i].Pause = s.acks.pause(result.Started, ended).length()
	}
	result.Control.Pause = r.control.acks.pause(result.Started, ended).length()
	result.Floor = r.floor.pause(result.Started, ended).length()
	result.Reads = r.reading.reads.count()
	result.ReadPause = r.reading.reads.pause(result.Started, ended).length()
	result.ReadErrors = r.reading.errs.read()
	result.ReadsPrimary, result.Checks, result.ChecksFailed = r.reading.onPrimary, r.reading.checks, r.reading.failed
	if result.Violations = r.reading.violations; result.Violations > 0 {
		result.broke("%d reads did not show what was written before: %s", result.Violations, r.reading.first)
	}
	result.Readiness = r.readiness.judge(result.Started, r.ours[0].acks.pause(result.Started, ended),
		r.ours[0].acks.pauses(result.Started, ended, shortPause))
	conns, worst := r.conns.read()
	result.FailedConns, result.FailedWorst = conns, len(worst)
	if len(worst) > 1 {
		result.broke("a connection failed %d times: %s", len(worst), strings.Join(worst, "; "))
	}
}
