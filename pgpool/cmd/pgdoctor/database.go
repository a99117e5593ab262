package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/internal/dial"
)

// finding is the result of one check. Its fields are the JSON output.
type finding struct {
	Check   string   `json:"check"`
	Verdict verdict  `json:"verdict"`
	Summary string   `json:"summary"`
	Details []string `json:"details,omitempty"`
	Hint    string   `json:"hint,omitempty"` // what to do, set with a warning or worse
}

// verdict is also what is printed.
type verdict string

const (
	ok      verdict = "ok"
	warn    verdict = "warn"
	bad     verdict = "WRONG"
	unknown verdict = "?" // the role may not see it, or the server does not have it
)

// maxDetails keeps the output on one screen. JSON has all of them.
const maxDetails = 5

// databaseReport is the JSON output of "pgdoctor database".
type databaseReport struct {
	Database string    `json:"database"`
	Server   string    `json:"server"`
	Standby  bool      `json:"standby"`
	Checks   []finding `json:"checks"`
}

// examineDatabase runs all checks on one connection. They only read: each runs in a READ ONLY
// transaction of its own. With an error it returns the report as far as it got, or nil.
func examineDatabase(ctx context.Context, cfg *pgx.ConnConfig) (*databaseReport, error) {
	cfg = cfg.Copy()
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // PgBouncer may be in between
	conn, err := dial.Connect(ctx, cfg, nil)
	if err != nil {
		return nil, &pgpool.StartupError{Attempts: 1, Err: err}
	}
	defer dial.Close(ctx, conn)
	report := &databaseReport{}
	err = conn.QueryRow(ctx, `select current_database(), current_setting('server_version'), pg_is_in_recovery()`).
		Scan(&report.Database, &report.Server, &report.Standby)
	if err != nil {
		return nil, &pgpool.StartupError{Attempts: 1, Err: err}
	}
	for _, check := range databaseChecks {
		found, err := runCheck(ctx, conn, check)
		if err != nil {
			if ctx.Err() != nil || conn.IsClosed() {
				return report, fmt.Errorf("%s and what follows were not examined: %w: allow more time (--timeout)",
					check.name, err)
			}
			found = finding{Verdict: unknown, Summary: reason(err)}
		}
		found.Check = check.name
		if found.Verdict == ok || found.Verdict == unknown {
			found.Hint = ""
		}
		report.Checks = append(report.Checks, found)
	}
	return report, nil
}

func runCheck(ctx context.Context, conn *pgx.Conn, check databaseCheck) (found finding, err error) {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return finding{}, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, `set local statement_timeout = '5s'`); err != nil {
		return finding{}, err
	}
	return check.run(ctx, tx)
}

// reason says why a check has no result. A server's message may quote values, so it has the code
// only.
func reason(err error) string {
	var answer *pgconn.PgError
	switch {
	case !errors.As(err, &answer):
		return "could not be read"
	case answer.Code == "42501":
		return "this role may not see it: GRANT pg_monitor"
	case answer.Code == "57014":
		return "took longer than 5s"
	}
	return "could not be read (SQLSTATE " + answer.Code + ")"
}

// worst returns the counts that decide the exit code.
func (r *databaseReport) worst() (problems, warnings int) {
	for _, f := range r.Checks {
		switch f.Verdict {
		case bad:
			problems++
		case warn:
			warnings++
		}
	}
	return problems, warnings
}

func (r *databaseReport) write(out io.Writer, colors bool) {
	role := "primary"
	if r.Standby {
		role = "standby"
	}
	fmt.Fprintf(out, "Database %s on PostgreSQL %s, %s\n", visible(r.Database), visible(r.Server), role)
	for _, f := range r.Checks {
		fmt.Fprintf(out, "  %s  %-14s  %s\n", paint(f.Verdict, colors), f.Check, visible(f.Summary))
		for i, detail := range f.Details {
			if i == maxDetails {
				fmt.Fprintf(out, "%25s… and %d more: --json shows all\n", "", len(f.Details)-maxDetails)
				break
			}
			fmt.Fprintf(out, "%25s%s\n", "", oneLine(detail))
		}
		if f.Hint != "" {
			fmt.Fprintf(out, "%25s→ %s\n", "", f.Hint)
		}
	}
	problems, warnings := r.worst()
	fmt.Fprintf(out, "\n%s, %s\n", count(problems, "problem"), count(warnings, "warning"))
}

// maxDetail fits a terminal together with the indentation.
const maxDetail = 110 // runes

func oneLine(text string) string {
	text = visible(strings.Join(strings.Fields(text), " "))
	if runes := []rune(text); len(runes) > maxDetail {
		return string(runes[:maxDetail-1]) + "…"
	}
	return text
}

// visible replaces characters that would control the terminal: any role that may create a table can
// choose such a name.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsGraphic(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// paint pads a verdict, and colors it on a terminal.
func paint(v verdict, colors bool) string {
	text := fmt.Sprintf("%-5s", v)
	code := map[verdict]string{ok: "32", warn: "33", bad: "31"}[v]
	if !colors || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
