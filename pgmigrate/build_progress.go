package pgmigrate

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// buildInterval is how long a statement runs before the first EventBuild, and how often it is sent.
const buildInterval = time.Second

// watchBuild reports the progress of an index build that the run's connection executes, from its
// own connection. The returned function ends that and waits for it.
func (r *run) watchBuild(ctx context.Context, s *step) (stop func()) {
	if r.m.settings.progress == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	pid := r.conn.PgConn().PID()
	e := s.event(EventBuild)
	if !s.transactional {
		e.Line = s.line
	}
	go func() {
		defer close(done)
		r.pollBuild(ctx, pid, e)
	}()
	return func() {
		cancel()
		<-done
	}
}

// pollBuild connects only when the statement has run for an interval: most take less. Each query is
// its own transaction, because the build waits for older snapshots.
func (r *run) pollBuild(ctx context.Context, pid uint32, e Event) {
	ticker := time.NewTicker(buildInterval)
	defer ticker.Stop()
	var conn *pgx.Conn
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if conn == nil {
			var err error
			if conn, err = r.m.connectReadOnly(ctx); err != nil {
				return // progress is not worth an error
			}
			defer session.Close(ctx, conn)
		}
		// A build counts blocks, then tuples, and transactions while it waits for them.
		err := conn.QueryRow(ctx, `
select phase,
  case when blocks_total > 0 then blocks_done when tuples_total > 0 then tuples_done else lockers_done end,
  case when blocks_total > 0 then blocks_total when tuples_total > 0 then tuples_total else lockers_total end
from pg_catalog.pg_stat_progress_create_index where pid = $1`, pgx.QueryExecModeExec,
			pid).Scan(&e.Phase, &e.Done, &e.Total)
		switch {
		case err == nil && ctx.Err() == nil:
			r.m.settings.event(e)
		case conn.IsClosed():
			return
		}
	}
}
