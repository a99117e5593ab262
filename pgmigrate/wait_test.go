package pgmigrate_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgmigrate"
)

func TestWaitFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, three())
	done := make(chan error, 1)
	go func() { done <- m.WaitFor(t.Context(), 2) }()

	const asked = "select exists (select from pg_stat_activity where datname = current_database() and pid <> " +
		"pg_backend_pid() and query like '%select version from public.schema_version%')"
	for !ask[bool](t, b, asked) {
	}
	select {
	case err := <-done:
		t.Fatalf("ended before there was a schema: %v", err)
	default:
	}
	if _, err := m.To(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := m.WaitFor(t.Context(), 3); err != nil {
		t.Errorf("a version that is reached: %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	err := m.WaitFor(ctx, 4)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the database is at version 3") {
		t.Errorf("a version that never comes: %v", err)
	}
}

// A role that may not read the version table waits until it is granted.
func TestWaitForRight(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, three()).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	as := b.lesser(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := migrator(t, as, three()).WaitFor(ctx, 3)
	if !errors.Is(err, context.DeadlineExceeded) || pgerr.Of(err) == pgerr.Unknown ||
		!strings.Contains(err.Error(), "permission denied for table schema_version") {
		t.Errorf("without the right: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- migrator(t, as, three()).WaitFor(t.Context(), 3) }()
	b.exec(t, "grant select on schema_version to "+pgx.Identifier{as.config.User}.Sanitize())
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWaitForVersionThatCannotBe(t *testing.T) {
	t.Parallel()
	var wrong *pgmigrate.VersionError
	if err := migrator(t, setup(t), three()).WaitFor(t.Context(), -1); !errors.As(err, &wrong) || wrong.Target != -1 {
		t.Errorf("got %v", err)
	}
}

// Who waits behind an interrupted section is told once, waits on, and says why in the end.
func TestWaitBehindInterrupted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, failing()).Up(t.Context()); err == nil {
		t.Fatal("no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := func(line []byte) (int, error) {
		if strings.Contains(string(line), "waiting for a version, but a migration was interrupted") {
			cancel()
		}
		return len(line), nil
	}
	err := migrator(t, b, failing(),
		pgmigrate.WithLogger(slog.New(slog.NewTextHandler(writerFunc(log), nil)))).WaitFor(ctx, 3)
	var dirty *pgmigrate.DirtyError
	if !errors.As(err, &dirty) || dirty.Version != 2 || !errors.Is(err, context.Canceled) ||
		!strings.HasPrefix(err.Error(), "wait for version 3: the database is at version 1: ") {
		t.Errorf("got %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestWaitForServer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, test := range map[string]struct {
		change func(*pgx.ConnConfig)
		waits  bool
		limit  time.Duration
	}{
		"no server":   {func(c *pgx.ConnConfig) { c.Host, c.Port = "127.0.0.1", 1 }, true, 2 * time.Second},
		"no database": {func(c *pgx.ConnConfig) { c.Database = "no_such_database" }, false, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := b.config.Copy()
			test.change(cfg)
			cfg.Fallbacks = nil
			m, err := pgmigrate.New(cfg, three(), pgmigrate.WithLogger(nil))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), test.limit)
			defer cancel()
			err = m.WaitFor(ctx, 1)
			if err == nil || errors.Is(err, context.DeadlineExceeded) != test.waits ||
				!strings.Contains(err.Error(), "connect") {
				t.Errorf("got %v", err)
			}
		})
	}
}
