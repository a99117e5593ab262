package pgpool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// listening runs a listener until the end of the test and checks that it then ends.
func listening(t *testing.T, config *pgx.ConnConfig, status *pgpool.ListenerStatus, channel string,
	handle func(context.Context, *pgconn.Notification) error, resync func(context.Context, *pgx.Conn) error, opts ...pgpool.Option,
) {
	t.Helper()
	if handle == nil {
		handle = func(context.Context, *pgconn.Notification) error { return nil }
	}
	if resync == nil {
		resync = func(context.Context, *pgx.Conn) error { return nil }
	}
	listener, err := pgpool.Listener(config, append([]pgpool.Option{pgpool.WithLogger(nil), pgpool.WithListenerStatus(status)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	listener.Handle(channel, pgpool.Notified(handle, resync))
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- listener.Listen(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-result:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Listen returned %v, want the context's error", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Listen did not end with its context")
		}
		eventually(t, func() bool { return !status.State().Connected })
	})
}

// What is notified while the listener is away comes through resync, and what comes after through
// handle.
func TestListenerResyncsAfterLosingItsConnection(t *testing.T) {
	t.Parallel()
	config := database(t)
	pool := connect(t, config)
	if _, err := pool.Exec(t.Context(), `create table pages (id int)`); err != nil {
		t.Fatal(err)
	}
	p := through(t, config)
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	heard, counted := make(chan string, 10), make(chan int, 10)
	var status pgpool.ListenerStatus
	var log logs
	listening(t, config.ConnConfig, &status, "pages",
		func(_ context.Context, n *pgconn.Notification) error { heard <- n.Payload; return nil },
		func(ctx context.Context, conn *pgx.Conn) error {
			var count int
			err := conn.QueryRow(ctx, `select count(*) from pages`).Scan(&count)
			if err == nil {
				counted <- count
			}
			return err
		}, pgpool.WithLogger(log.logger()))
	publish := func(id string) {
		if _, err := pool.Exec(t.Context(), `with page as (insert into pages values ($1::text::int)) select pg_notify('pages', $1)`, id); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-counted; got != 0 {
		t.Fatalf("first resync counted %d, want 0", got)
	}
	publish("1")
	if got := <-heard; got != "1" {
		t.Errorf("heard %q, want 1", got)
	}

	p.stop() // refuses from now on
	eventually(t, func() bool { state := status.State(); return !state.Connected && state.Err != nil })
	publish("2")
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	if got := <-counted; got != 2 {
		t.Errorf("resync counted %d, want 2: with what was missed", got)
	}
	publish("3")
	if got := <-heard; got != "3" {
		t.Errorf("heard %q, want 3: the one that was missed is not repeated", got)
	}
	state := status.State()
	if !state.Connected || state.Connects != 2 || state.Err != nil || state.Since.IsZero() {
		t.Errorf("state is %+v, want connected for the second time", state)
	}
	if len(log.lines("category=connection")) == 0 {
		t.Errorf("log is %q, want the loss with its category", &log)
	}
}

// A listener logs in with what the source says, for each connection, and shows what it does to
// tracers.
func TestListenerWithPasswordAndTracers(t *testing.T) {
	t.Parallel()
	const password = "open-sesame-83"
	config := parse(t, serverWithPassword(t, "listening", password)("none-of-them")).ConnConfig
	own, second := &counting{}, &counting{}
	config.Tracer = own
	asked, down := 0, errors.New("the vault is closed")
	resynced := make(chan struct{}, 1)
	var status pgpool.ListenerStatus
	var log logs
	listening(t, config, &status, "pages", nil, func(context.Context, *pgx.Conn) error { resynced <- struct{}{}; return nil },
		pgpool.WithLogger(log.logger()), pgpool.WithTracer(second), pgpool.WithPassword(func(context.Context) (string, error) {
			if asked++; asked == 1 {
				return "", down
			}
			return password, nil
		}))
	<-resynced
	if lines := log.lines("listener cannot connect, trying again"); len(lines) != 1 || !strings.Contains(lines[0], down.Error()) {
		t.Errorf("log is %q, want the source's error once", &log)
	}
	if own.connects.Load() != 1 || second.connects.Load() != 1 || own.started.Load() == 0 || second.started.Load() == 0 {
		t.Errorf("the tracers saw %d and %d connects, %d and %d statements; want 1 and some", own.connects.Load(), second.connects.Load(), own.started.Load(), second.started.Load())
	}
	if strings.Contains(log.String(), password) {
		t.Error("the password is in the log")
	}
}

// A listener without a status to show works like one with.
func TestListenerWithoutStatus(t *testing.T) {
	t.Parallel()
	listener, err := pgpool.Listener(database(t).ConnConfig, pgpool.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	listener.Handle("pages", pgpool.Notified(func(context.Context, *pgconn.Notification) error { return nil },
		func(context.Context, *pgx.Conn) error { cancel(); return nil }))
	if err := listener.Listen(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Listen returned %v, want the context's error", err)
	}
}

// handle never builds on a state that was not read.
func TestListenerThatCannotResyncStartsAgain(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	pool := connect(t, parse(t, url))
	attempts := make(chan int, 10)
	attempt := 0
	heard := make(chan string, 10)
	var status pgpool.ListenerStatus
	var log logs
	listening(t, parse(t, url).ConnConfig, &status, "pages",
		func(_ context.Context, n *pgconn.Notification) error { heard <- n.Payload; return nil },
		func(ctx context.Context, conn *pgx.Conn) error {
			attempt++
			attempts <- attempt
			if attempt < 3 {
				_, err := pool.Exec(ctx, `select pg_notify('pages', 'too early')`)
				return errors.Join(err, errors.New("the cache is not there yet"))
			}
			return nil
		}, pgpool.WithLogger(log.logger()))
	for want := 1; want <= 3; want++ {
		if got := <-attempts; got != want {
			t.Fatalf("attempt %d, want %d", got, want)
		}
	}
	eventually(t, func() bool { return status.State().Connected })
	if _, err := pool.Exec(t.Context(), `select pg_notify('pages', 'in time')`); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "in time" {
		t.Errorf("heard %q before a resync succeeded", got)
	}
	if len(log.lines("the cache is not there yet")) != 2 {
		t.Errorf("log is %q, want both failures", &log)
	}
}

func TestListenerWaitsForTheServer(t *testing.T) {
	t.Parallel()
	config := database(t)
	p := through(t, config)
	var status pgpool.ListenerStatus
	listening(t, config.ConnConfig, &status, "pages", nil, nil)
	eventually(t, func() bool { return status.State().Err != nil })
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return status.State().Connected })
}

// Its instances do not come back in step, and none waits for a minute.
func TestListenerWaitsAtRandom(t *testing.T) {
	t.Parallel()
	config := database(t)
	through(t, config) // refuses
	var status pgpool.ListenerStatus
	var log logs
	listening(t, config.ConnConfig, &status, "pages", nil, nil, pgpool.WithLogger(log.logger()))
	eventually(t, func() bool { return len(log.lines("trying again")) >= 5 })
	drawn, most := 0, 100*time.Millisecond
	for _, line := range log.lines("trying again") {
		_, text, _ := strings.Cut(line, "wait=")
		wait, err := time.ParseDuration(strings.TrimSpace(text))
		if err != nil || wait > most {
			t.Errorf("wait %q, %v; want at most %s", text, err, most)
		}
		if wait < most {
			drawn++
		}
		most = min(2*most, 5*time.Second)
	}
	if drawn == 0 {
		t.Errorf("log is %q, want waits below their most", &log)
	}
}

func TestListenerRefusesIncompleteConfig(t *testing.T) {
	t.Parallel()
	if _, err := pgpool.Listener(nil); err == nil {
		t.Error("nil: no error")
	}
	if _, err := pgpool.Listener(&pgx.ConnConfig{}); err == nil {
		t.Error("zero: no error")
	}
}
