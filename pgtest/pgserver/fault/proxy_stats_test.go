package fault_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func TestStats(t *testing.T) {
	t.Parallel()
	_, p := through(t, fault.Options{})
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement,
	} {
		conn := connect(t, p.URL(), func(cfg *pgx.ConnConfig) { cfg.DefaultQueryExecMode = mode })
		if n := p.Stats().Open; n != 1 {
			t.Errorf("%d open, want 1", n)
		}
		before := p.Stats()
		const rounds = 50
		for range rounds {
			var n int
			if err := conn.QueryRow(t.Context(), "select $1::int", 7).Scan(&n); err != nil {
				t.Fatal(err)
			}
		}
		want := rounds
		if mode == pgx.QueryExecModeCacheStatement {
			want++ // the statement is prepared first
		}
		conn.Close(t.Context())
		until(t, "the session to end", func() bool { return p.Stats().Open == 0 })
		after := p.Stats()
		if got := after.Flushes - before.Flushes; got != want {
			t.Errorf("%s: %d flushes, want %d", mode, got, want)
		}
	}
	if n := p.Stats().Connections; n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

// Many messages in one flush are one round trip, also with several points of synchronization, and
// if they are too long to be read at once.
func TestStatsOfPipeline(t *testing.T) {
	t.Parallel()
	_, p := through(t, fault.Options{})
	conn := connect(t, p.URL())
	before := p.Stats().Flushes
	pipeline := conn.PgConn().StartPipeline(t.Context())
	for range 5 {
		pipeline.SendQueryParams("select 1", nil, nil, nil, nil)
		pipeline.SendPipelineSync()
	}
	if err := errors.Join(pipeline.Flush(), pipeline.Close()); err != nil {
		t.Fatal(err)
	}
	if got := p.Stats().Flushes - before; got != 1 {
		t.Errorf("%d flushes, want 1", got)
	}
	before++
	pipeline = conn.PgConn().StartPipeline(t.Context())
	for range 5 {
		pipeline.SendQueryParams("select '"+strings.Repeat("x", 100_000)+"' = ''", nil, nil, nil, nil)
	}
	if err := errors.Join(pipeline.Sync(), pipeline.Close()); err != nil {
		t.Fatal(err)
	}
	if got := p.Stats().Flushes - before; got != 1 {
		t.Errorf("%d flushes of a long message, want 1", got)
	}
}
