package fault

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// Standby makes a standby that receives from s through a proxy, and starts it. It has the settings
// of s and those given. Where there is no pg_basebackup the test is skipped.
func (s *Server) Standby(t TB, settings map[string]string) *Server {
	t.Helper()
	if _, err := os.Stat(filepath.Join(s.bin, "pg_basebackup")); err != nil {
		t.Skipf("fault: standby: there is no pg_basebackup in %s", s.bin)
		return nil
	}
	link := NewProxy(t, s.socketURL("postgres"), Options{}) // TCP: the standby runs as another user
	b := newServer(t)
	b.primary, b.link, b.settings = s, link, maps.Clone(s.settings)
	maps.Copy(b.settings, settings)
	ctx, cancel := limited(t)
	defer cancel()
	if err := b.copy(ctx); err != nil {
		t.Fatalf("fault: standby: %v", err)
		return nil
	}
	b.Start(t)
	return b
}

func (s *Server) copy(ctx context.Context) error {
	err := s.run(ctx, "pg_basebackup", "-d", s.primary.socketURL(""), "-D", s.Data(),
		"--checkpoint=fast", "--wal-method=stream", "--no-sync")
	if err != nil {
		return err
	}
	if err := s.write("standby.signal", ""); err != nil {
		return err
	}
	return s.configure()
}

// Link returns the proxy that a standby receives through, or nil for a server that is none. Rate
// and Delay from the server make replication slow, Freeze and Refuse stop it.
func (s *Server) Link() *Proxy { return s.link }

// Promote makes a standby a primary, and returns when it is one.
func (s *Server) Promote(t pgserver.TB) {
	t.Helper()
	s.Exec(t, "do $$ begin if not pg_promote() then raise 'not promoted within a minute'; end if; end $$")
}

// PauseReplay stops the replay of a standby, which goes on receiving. It returns when replay has
// stopped.
func (s *Server) PauseReplay(t pgserver.TB) {
	t.Helper()
	s.wait(t, "pause replay", "select pg_wal_replay_pause()", "select pg_get_wal_replay_pause_state() = 'paused'")
}

// ResumeReplay goes on with the replay of a standby.
func (s *Server) ResumeReplay(t pgserver.TB) { t.Helper(); s.Exec(t, "select pg_wal_replay_resume()") }

// CatchUp returns when a standby has replayed all that its primary has written by now.
func (s *Server) CatchUp(t pgserver.TB) {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	var end string
	err := s.primary.ask(ctx, func(conn *pgx.Conn) error {
		const sql = `select case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
			else pg_current_wal_lsn() end::text`
		return conn.QueryRow(ctx, sql).Scan(&end)
	})
	if err != nil {
		t.Fatalf("fault: catch up: the primary's position: %v", err)
		return
	}
	s.wait(t, "catch up", "select", "select pg_last_wal_replay_lsn() >= '"+end+"'")
}

// wait runs a statement, and asks a question until the answer is true.
func (s *Server) wait(t pgserver.TB, what, sql, question string) {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	err := s.ask(ctx, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
		// 5 ms: the server gives no signal, and asking costs it little.
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			var yes bool
			if err := conn.QueryRow(ctx, question).Scan(&yes); err != nil || yes {
				return err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("not within %s: %s", startLimit, question)
			}
		}
	})
	if err != nil {
		t.Fatalf("fault: %s: %v", what, err)
	}
}
