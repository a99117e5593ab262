package fault

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/datadir"
)

// Start starts a server that is down, and returns when it accepts connections. A server that
// recovers after a kill does that first.
func (s *Server) Start(t pgserver.TB) {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	if err := s.start(ctx); err != nil {
		t.Fatalf("fault: start the server: %v", err)
	}
}

// Stop ends all sessions and shuts the server down in good order: its standbys get all that was
// written first.
func (s *Server) Stop(t pgserver.TB) { t.Helper(); s.signal(t, "stop", syscall.SIGINT) }

// Kill ends the server's first process with kill -9, as the kernel does when memory is short, and
// returns when the others have followed. Clients and standbys get no last word from the server.
func (s *Server) Kill(t pgserver.TB) { t.Helper(); s.signal(t, "kill", syscall.SIGKILL) }

// Restart is Stop and Start.
func (s *Server) Restart(t pgserver.TB) {
	t.Helper()
	s.Stop(t)
	s.Start(t)
}

func (s *Server) signal(t pgserver.TB, verb string, signal syscall.Signal) {
	t.Helper()
	if err := s.halt(signal); err != nil {
		t.Fatalf("fault: %s the server: %v", verb, err)
	}
}

// process is a running server.
type process struct {
	cmd   *exec.Cmd
	log   tail
	ended chan struct{} // closed when the last of the server's processes is gone
}

// tail keeps the end of a log.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (l *tail) Write(b []byte) (int, error) {
	const most = 16 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	l.text = l.text[max(0, len(l.text)-most):]
	return len(b), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(l.text)), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-12):], "\n  ")
}

func (s *Server) start(ctx context.Context) error {
	if s.process != nil {
		return errors.New("it is up already")
	}
	p := &process{ended: make(chan struct{})}
	p.cmd = s.keeper.program(filepath.Join(s.bin, "postgres"), "-D", s.Data())
	// The server's processes share this pipe: it ends, and Wait returns, when the last one is gone.
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		return err
	}
	s.process = p
	go func() { defer close(p.ended); _ = p.cmd.Wait(); s.keeper.forget(p.cmd) }()
	// 5 ms: a start takes about 100. Nothing but an answer tells that the server is ready.
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.ask(ctx, func(conn *pgx.Conn) error { return conn.Ping(ctx) })
		if err == nil || s.isClosedStandby(err) {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			s.process = nil
			if datadir.Damaged(p.log.String()) {
				s.source().Forget()
			}
			return fmt.Errorf("it exited; its log ends:\n%s", &p.log)
		case <-ctx.Done():
			return fmt.Errorf("it is not ready after %s: %w; its log ends:\n%s", startLimit, err, &p.log)
		}
	}
}

// isClosedStandby reports whether the error is the answer of a standby that was configured to
// accept nobody, which is as ready as it gets.
func (s *Server) isClosedStandby(err error) bool {
	var refused *pgconn.PgError
	return s.settings["hot_standby"] == "off" && errors.As(err, &refused) && refused.Code == "57P03"
}

// halt sends a signal to the first process of the server, and waits until all are gone.
func (s *Server) halt(signal syscall.Signal) error {
	p := s.process
	if p == nil {
		return errDown
	}
	_ = p.cmd.Process.Signal(signal) // it may have ended by itself
	select {
	case <-p.ended:
		s.process = nil
		return nil
	case <-time.After(startLimit):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		return fmt.Errorf("it still runs after %s; its log ends:\n%s", startLimit, &p.log)
	}
}
