package pgtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// planLimit bounds the look at one test's plans.
const planLimit = 30 * time.Second

// UsesIndexes fails the test if no index could serve a statement that was sent: PostgreSQL still
// reads a whole table where that is forbidden (enable_seqscan = off). So it works on tables with a
// few rows, whose statistics say nothing. A statement that asks for a whole table passes; one that
// filters it, joins two whole tables, or sorts one for its first rows, does not. Tables of the
// system catalog do not count.
//
// The statements are explained, not run, with the arguments that they had, on a connection of their
// own. It does not see tables that a transaction has not committed.
func (w *Watched) UsesIndexes() {
	w.t.Helper()
	err := w.explain(func(ctx context.Context, conn *pgx.Conn, s statement) error {
		var text []byte
		if err := explain(ctx, conn, "explain (format json, verbose) ", s, &text); err != nil {
			return err
		}
		var plans []struct{ Plan planNode }
		if err := json.Unmarshal(text, &plans); err != nil {
			return err
		}
		var tables []string
		for _, p := range plans {
			tables = append(tables, p.Plan.withoutIndex()...)
		}
		if len(tables) > 0 {
			plan, err := planText(ctx, conn, s)
			w.t.Errorf("pgtest: no index serves this statement, which reads all of %s:\n%s\n  at %s\n%s",
				strings.Join(tables, ", "), indent(s.sql), s.callers, plan)
			return err
		}
		return nil
	})
	if err != nil {
		w.t.Errorf("pgtest: explain: %v", err)
	}
}

// GoldenPlans compares the plans of the statements that were sent, without costs and with indexes
// where they are possible, with the file testdata/plans/NAME.txt, NAME being the test's name.
// PGTEST_UPDATE=1 writes the file. Plans differ between major versions of PostgreSQL: compare on
// one.
func (w *Watched) GoldenPlans() {
	w.t.Helper()
	var b strings.Builder
	err := w.explain(func(ctx context.Context, conn *pgx.Conn, s statement) error {
		plan, err := planText(ctx, conn, s)
		fmt.Fprintf(&b, "%s\n%s\n", strings.TrimSpace(s.sql), plan)
		return err
	})
	if err != nil {
		w.t.Errorf("pgtest: explain: %v", err)
		return
	}
	name := strings.NewReplacer("/", "_", "\\", "_", ":", "_").Replace(w.t.Name())
	path := filepath.Join("testdata", "plans", name+".txt")
	if os.Getenv("PGTEST_UPDATE") == "1" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			w.t.Errorf("pgtest: golden plans: %v", err)
		} else if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			w.t.Errorf("pgtest: golden plans: %v", err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		w.t.Errorf("pgtest: golden plans: %v; run the test with PGTEST_UPDATE=1 to write them", err)
		return
	}
	if string(want) != b.String() {
		w.t.Errorf("pgtest: the plans differ from %s; PGTEST_UPDATE=1 writes the new ones:\n%s", path, &b)
	}
}

// explain calls fn for each different statement that can be explained, in a transaction that cannot
// write and without sequential scans where there is another way.
func (w *Watched) explain(fn func(context.Context, *pgx.Conn, statement) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), planLimit)
	defer cancel()
	pool := w.pool.Config()
	cfg := pool.ConnConfig
	cfg.Tracer = nil
	if pool.BeforeConnect != nil {
		if err := pool.BeforeConnect(ctx, cfg); err != nil {
			return err
		}
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if pool.AfterConnect != nil { // registers types
		if err := pool.AfterConnect(ctx, conn); err != nil {
			return err
		}
	}
	if _, err := conn.Exec(ctx, "set enable_seqscan = off; set lock_timeout = '5s'"); err != nil {
		return err
	}
	var failed []error
	for _, g := range group(w.sent()) {
		s := g.statements[0]
		switch firstWord(s.sql) {
		case "select", "with", "insert", "update", "delete", "merge", "values", "table":
			if err := fn(ctx, conn, s); err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", indent(s.sql), err))
			}
		}
	}
	return errors.Join(failed...)
}

func explain(ctx context.Context, conn *pgx.Conn, prefix string, s statement, dst any) error {
	return conn.QueryRow(ctx, prefix+s.sql, s.args...).Scan(dst)
}

func planText(ctx context.Context, conn *pgx.Conn, s statement) (string, error) {
	rows, err := conn.Query(ctx, "explain (costs off) "+s.sql, s.args...)
	if err != nil {
		return "", err
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return "  " + strings.Join(lines, "\n  ") + "\n", err
}

// planNode is what matters of a node of EXPLAIN's result.
type planNode struct {
	Type   string `json:"Node Type"`
	Table  string `json:"Relation Name"`
	Schema string `json:"Schema"`
	Filter string `json:"Filter"`
	Plans  []planNode
}

// withoutIndex returns the tables that are read as a whole for some of their rows only.
func (n planNode) withoutIndex() []string {
	tables := n.filtered()
	if whole := n.whole(); n.isJoin() && len(whole) > 1 {
		tables = append(tables, whole...)
	}
	if n.Type == "Limit" && n.sorts() { // all rows are read and sorted for the first few
		tables = append(tables, n.whole()...)
	}
	for _, child := range n.Plans {
		tables = append(tables, child.withoutIndex()...)
	}
	return tables
}

func (n planNode) sorts() bool {
	return n.Type == "Sort" || slices.ContainsFunc(n.Plans, planNode.sorts)
}

func (n planNode) isJoin() bool {
	return n.Type == "Nested Loop" || n.Type == "Hash Join" || n.Type == "Merge Join"
}

func (n planNode) isScan() bool {
	return n.Type == "Seq Scan" && n.Schema != "pg_catalog" && n.Schema != "information_schema"
}

func (n planNode) filtered() []string {
	if n.isScan() && n.Filter != "" {
		return []string{n.Table}
	}
	return nil
}

// whole returns the tables below that are read without a filter, up to the next join.
func (n planNode) whole() (tables []string) {
	if n.isScan() && n.Filter == "" {
		tables = append(tables, n.Table)
	}
	for _, child := range n.Plans {
		if !child.isJoin() {
			tables = append(tables, child.whole()...)
		}
	}
	return tables
}
