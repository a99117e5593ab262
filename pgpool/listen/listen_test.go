package listen_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool/internal/testkit"
	"github.com/page-builder/persistence/pgpool/listen"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// nobody listens there.
const nobody = "postgres://app@127.0.0.1:1/app"

// Resync covers a notification that was sent while the listener was disconnected. notify gets the
// next one.
func TestListenerResyncsAfterLosingItsConnection(t *testing.T) {
	t.Parallel()
	config := database(t)
	writer := connect(t, config)
	execute(t, writer, `create table pages (id int)`)
	line := through(t, config)
	heard, counted := make(chan string, 10), make(chan int, 10)
	var log logs
	listener := newListener(t, config, listen.WithLogger(log.Logger()))
	handle(t, listener, "pages",
		func(_ context.Context, n *pgconn.Notification) error { heard <- n.Payload; return nil },
		func(ctx context.Context, conn *pgx.Conn) error {
			var count int
			err := conn.QueryRow(ctx, `select count(*) from pages`).Scan(&count)
			if err == nil {
				counted <- count
			}
			_, also := conn.Exec(ctx, `listen others`) // which has no handler
			return errors.Join(err, also)
		})
	run(t, listener)
	publish := func(id string) {
		execute(t, writer, `with page as (insert into pages values ($1::text::int)) select pg_notify('pages', $1)`, id)
	}
	if got := receive(t, counted); got != 0 {
		t.Fatalf("first resync counted %d, want 0", got)
	}
	publish("1")
	if got := receive(t, heard); got != "1" {
		t.Errorf("heard %q, want 1", got)
	}

	execute(t, writer, `notify others`)
	line.Redirect(nobody) // the next connection ends at once
	before := time.Now()
	execute(t, writer, `select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()
		and datname = current_database()`)
	eventually(t, func() bool { since, err := listener.Alive(); return err != nil && since.After(before) })
	publish("2")
	line.Redirect(config.ConnString())
	if got := receive(t, counted); got != 2 {
		t.Errorf("resync counted %d, want 2 with the one that was missed", got)
	}
	publish("3")
	if got := receive(t, heard); got != "3" {
		t.Errorf("heard %q, want 3: the one that was missed is not repeated", got)
	}
	if since, err := listener.Alive(); err != nil || since.IsZero() || listener.Connects() != 2 {
		t.Errorf("alive since %s, %v, %d connects; want alive for the second time", since, err, listener.Connects())
	}
	if len(log.Lines("category=shutdown")) == 0 || len(log.Lines("missing handler")) != 0 {
		t.Errorf(
			"log is %q, want the loss with its category, and nothing of the channel without a handler",
			log.Lines(""),
		)
	}
}

// The server delivers nothing within a transaction, so a resync that leaves one open has failed. A
// second Listen is refused while the first one runs.
func TestListenerWhoseResyncLeavesATransactionOpen(t *testing.T) {
	t.Parallel()
	listener := newListener(t, database(t))
	handle(t, listener, "pages", nil, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `begin`)
		return err
	})
	run(t, listener)
	eventually(t, func() bool {
		_, err := listener.Alive()
		return err != nil && strings.Contains(err.Error(), "transaction open")
	})
	if err := listener.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second Listen returns %v", err)
	}
}

// A handler that panics ends Listen. The program may call it again.
func TestListenerAfterAPanic(t *testing.T) {
	t.Parallel()
	listener := newListener(t, database(t))
	panics := true
	handle(t, listener, "pages", nil, func(context.Context, *pgx.Conn) error {
		if panics {
			panics = false
			panic("no cache")
		}
		return nil
	})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not reach the caller")
			}
		}()
		_ = listener.Listen(t.Context())
	}()
	if _, err := listener.Alive(); !errors.Is(err, listen.ErrNotListening) {
		t.Errorf("after a panic: %v, want ErrNotListening", err)
	}
	run(t, listener)
	eventually(t, func() bool { return alive(listener) })
}

// pgx gives notifications to the OnNotification of a configuration and returns none. The listener
// needs them.
func TestListenerOfAConfigurationWithOnNotification(t *testing.T) {
	t.Parallel()
	config := database(t)
	writer := connect(t, config)
	config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {}
	heard := make(chan string, 1)
	listener := newListener(t, config)
	handle(t, listener, "pages", func(_ context.Context, n *pgconn.Notification) error {
		heard <- n.Payload
		return nil
	}, nil)
	run(t, listener)
	eventually(t, func() bool { return alive(listener) })
	execute(t, writer, `notify pages, 'for the handler'`)
	if got := receive(t, heard); got != "for the handler" {
		t.Errorf("heard %q", got)
	}
}

// notify is never called before a resync has read the state. A listener whose resync always fails
// is not alive, and its since does not start again.
func TestListenerWhoseResyncFailsIsNotAlive(t *testing.T) {
	t.Parallel()
	config := database(t)
	writer := connect(t, config)
	heard, mend := make(chan string, 10), make(chan struct{})
	cold := errors.New("the cache is not there yet")
	var log logs
	listener := newListener(t, config, listen.WithLogger(log.Logger()))
	handle(t, listener, "others", nil, nil) // alone, it would be alive
	handle(t, listener, "pages",
		func(_ context.Context, n *pgconn.Notification) error { heard <- n.Payload; return nil },
		func(ctx context.Context, conn *pgx.Conn) error {
			select {
			case <-mend:
				return nil
			default:
			}
			_, err := conn.Exec(ctx, `select pg_notify('pages', 'too early')`)
			return errors.Join(err, cold)
		})
	run(t, listener)
	eventually(t, func() bool { _, err := listener.Alive(); return errors.Is(err, cold) })
	first, _ := listener.Alive()
	eventually(t, func() bool { return len(log.Lines(cold.Error())) >= 3 })
	if since, err := listener.Alive(); !errors.Is(err, cold) || !since.Equal(first) || listener.Connects() != 0 {
		t.Errorf("since %s, %v, %d connects; want down since %s with the cause", since, err, listener.Connects(), first)
	}
	close(mend)
	eventually(t, func() bool { return alive(listener) })
	execute(t, writer, `select pg_notify('pages', 'in time')`)
	if got := receive(t, heard); got != "in time" {
		t.Errorf("heard %q before a resync succeeded", got)
	}
}

// A listener on a server that refuses LISTEN is not alive and keeps the cause until a promotion.
func TestListenerThatCannotListenIsNotAlive(t *testing.T) {
	t.Parallel()
	standby := fault.NewServer(t, fault.ServerOptions{}).Standby(t, nil)
	var log logs
	listener := newListener(t, parse(t, fault.HostsURL("any", standby)), listen.WithLogger(log.Logger()))
	handle(t, listener, "pages", nil, nil)
	run(t, listener)
	eventually(t, func() bool { return len(log.Lines("25006")) >= 1 })
	first, _ := listener.Alive()
	eventually(t, func() bool { return len(log.Lines("25006")) >= 3 })
	var cause *pgconn.PgError
	since, err := listener.Alive()
	if !errors.As(err, &cause) || cause.Code != "25006" || !since.Equal(first) || listener.Connects() != 0 {
		t.Errorf("since %s, %v, %d connects; want down since %s with the server's error", since, err,
			listener.Connects(), first)
	}
	standby.Promote(t)
	eventually(t, func() bool { return alive(listener) })
}

// Silence is no reason to connect again: the listener notifies itself meanwhile.
func TestListenerStaysThroughSilence(t *testing.T) {
	t.Parallel()
	config := database(t)
	writer := connect(t, config)
	dials := countDials(t, config)
	listener := newListener(t, config, listen.WithHeartbeat(20*time.Millisecond))
	heard := hear(t, listener)
	run(t, listener)
	eventually(t, func() bool { return dials.Load() > 5 })
	execute(t, writer, `notify pages, 'after the silence'`)
	if got := receive(t, heard); got != "after the silence" || listener.Connects() != 1 {
		t.Errorf("heard %q after %d connects, want the notification on the first connection", got, listener.Connects())
	}
}

// While notifications arrive or a handler runs, nothing is sent.
func TestListenerIsNotifiedInSilenceOnly(t *testing.T) {
	t.Parallel()
	config := database(t)
	writer := connect(t, config)
	dials := countDials(t, config)
	began, goOn := make(chan struct{}), make(chan struct{})
	listener := newListener(t, config, listen.WithHeartbeat(time.Second))
	handle(t, listener, "pages", func(context.Context, *pgconn.Notification) error {
		began <- struct{}{}
		<-goOn
		return nil
	}, nil)
	run(t, listener)
	eventually(t, func() bool { return alive(listener) })
	execute(t, writer, `notify pages`)
	receive(t, began)
	sent := dials.Load()
	time.Sleep(2500 * time.Millisecond) // two heartbeats: nothing signals that none is sent
	if now := dials.Load(); now != sent {
		t.Errorf("%d connections while a handler ran", now-sent)
	}
	close(goOn)
	eventually(t, func() bool { return dials.Load() > sent })
	if listener.Connects() != 1 {
		t.Errorf("%d connects, want 1", listener.Connects())
	}
}

// A heartbeat that cannot be sent for an unrelated reason does not end the connection.
func TestListenerStaysWithoutAHeartbeat(t *testing.T) {
	t.Parallel()
	config := database(t)
	writer := connect(t, config)
	var calls atomic.Int32
	var log logs
	listener := newListener(t, config, listen.WithLogger(log.Logger()), listen.WithHeartbeat(20*time.Millisecond),
		listen.WithPassword(func(context.Context) (string, error) {
			if calls.Add(1) > 1 {
				return "", errors.New("the vault is sealed")
			}
			return config.Password, nil
		}))
	heard := hear(t, listener)
	run(t, listener)
	eventually(t, func() bool { return len(log.Lines("the vault is sealed")) > 1 })
	execute(t, writer, `notify pages, 'still here'`)
	if got := receive(t, heard); got != "still here" || listener.Connects() != 1 {
		t.Errorf("heard %q after %d connects", got, listener.Connects())
	}
}

// A server that is frozen only briefly keeps its listener, because its notification arrives in
// time.
func TestListenerWaitsForAServerThatThaws(t *testing.T) {
	t.Parallel()
	config := database(t)
	writer := connect(t, config)
	line := through(t, config)
	listener := newListener(t, config, listen.WithHeartbeat(20*time.Millisecond))
	heard := hear(t, listener)
	run(t, listener)
	eventually(t, func() bool { return alive(listener) })
	line.Freeze(fault.Both)
	execute(t, writer, `notify pages, 'in the cold'`)
	time.Sleep(200 * time.Millisecond) // some heartbeats, and less than the limit of 5 s
	line.Heal()
	if got := receive(t, heard); got != "in the cold" || listener.Connects() != 1 {
		t.Errorf("heard %q after %d connects", got, listener.Connects())
	}
}

func TestListenerWaitsForTheServer(t *testing.T) {
	t.Parallel()
	config := database(t)
	line := through(t, config)
	line.Refuse()
	listener := newListener(t, config)
	if since, err := listener.Alive(); !since.IsZero() || !errors.Is(err, listen.ErrNotListening) {
		t.Errorf("before Listen: since %s, %v", since, err)
	}
	handle(t, listener, "pages", nil, nil)
	run(t, listener)
	eventually(t, func() bool { _, err := listener.Alive(); return !errors.Is(err, listen.ErrNotListening) })
	line.Heal()
	eventually(t, func() bool { return alive(listener) })
}

// The waits are drawn at random, so that instances do not reconnect in lockstep.
func TestListenerWaitsAtRandom(t *testing.T) {
	t.Parallel()
	config := database(t)
	through(t, config).Refuse()
	var log logs
	listener := newListener(t, config, listen.WithLogger(log.Logger()))
	handle(t, listener, "pages", nil, nil)
	run(t, listener)
	const again = "listener connects again"
	eventually(t, func() bool { return len(log.Lines(again)) >= 5 })
	drawn, most := 0, 100*time.Millisecond
	for _, line := range log.Lines(again) {
		_, text, _ := strings.Cut(line, "wait=")
		text, _, _ = strings.Cut(text, " ")
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
		t.Errorf("log is %q, want waits below their most", log.Lines(again))
	}
}

// An error of notify is logged and changes nothing else.
func TestListenerGoesOnAfterAnErrorOfNotify(t *testing.T) {
	t.Parallel()
	config := database(t)
	writer := connect(t, config)
	heard := make(chan string, 2)
	var log logs
	listener := newListener(t, config, listen.WithLogger(log.Logger()))
	handle(t, listener, "pages", func(_ context.Context, n *pgconn.Notification) error {
		heard <- n.Payload
		return errors.New("no room")
	}, nil)
	run(t, listener)
	eventually(t, func() bool { return alive(listener) })
	for _, id := range []string{"1", "2"} {
		execute(t, writer, `select pg_notify('pages', $1)`, id)
		if got := receive(t, heard); got != id {
			t.Errorf("heard %q, want %s", got, id)
		}
	}
	eventually(t, func() bool { return len(log.Lines("no room")) == 2 })
	if listener.Connects() != 1 {
		t.Errorf("%d connects, want 1", listener.Connects())
	}
}

func TestListenerBehindPgBouncer(t *testing.T) {
	t.Parallel()
	config := parse(t, fault.NewPgBouncer(t, pgserver.Database(t), nil).URL())
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	listener := newListener(t, config)
	handle(t, listener, "pages", nil, nil)
	run(t, listener)
	eventually(t, func() bool { _, err := listener.Alive(); return errors.Is(err, listen.ErrPooled) })

	trusting := newListener(t, config, listen.WithAnyBackend())
	handle(t, trusting, "pages", nil, nil)
	run(t, trusting)
	eventually(t, func() bool { return alive(trusting) })
}

// With a password file, each connection logs in with the current content of the file.
func TestListenerReadsThePasswordFileAgain(t *testing.T) {
	t.Parallel()
	const old, renewed = "open-sesame-83", "open-barley-84"
	url := testkit.PasswordServer(t, "listening", old)
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(old)
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: map[string]string{
		"APP_ENV": "test", "DATABASE_URL": url(""), "DATABASE_PASSWORD_FILE": file,
	}})
	if err != nil {
		t.Fatal(err)
	}
	admin := connect(t, parse(t, url(old)))
	var log logs
	listener, err := listen.New(cfg, listen.WithLogger(log.Logger()))
	if err != nil {
		t.Fatal(err)
	}
	handle(t, listener, "pages", nil, nil)
	run(t, listener)
	eventually(t, func() bool { return listener.Connects() == 1 })
	execute(t, admin, `alter role current_user password '`+renewed+`'`)
	execute(t, admin, `select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()
		and usename = current_user`)
	eventually(t, func() bool { return len(log.Lines("category=auth")) > 0 })
	write(renewed)
	eventually(t, func() bool { return listener.Connects() == 2 })
	for _, secret := range []string{old, renewed} {
		if len(log.Lines(secret)) != 0 {
			t.Error("a password is in the log")
		}
	}
}

func TestListenerWithPasswordSource(t *testing.T) {
	t.Parallel()
	const password = "open-sesame-85"
	config := parse(t, testkit.PasswordServer(t, "asking", password)("none-of-them"))
	closed := errors.New("the vault is closed")
	asked := 0
	listener := newListener(t, config, listen.WithPassword(func(context.Context) (string, error) {
		if asked++; asked == 1 {
			return "", closed
		}
		return password, nil
	}))
	handle(t, listener, "pages", nil, nil)
	run(t, listener)
	eventually(t, func() bool { return alive(listener) })
	if asked != 2 {
		t.Errorf("the source was asked %d times, want 2", asked)
	}
}

func TestListenerRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]*pgx.ConnConfig{"nil": nil, "zero": {}} {
		if _, err := listen.NewConfig(config); err == nil {
			t.Errorf("%s configuration: no error", name)
		}
	}
	listener := newListener(t, database(t))
	if err := listener.Listen(t.Context()); err == nil {
		t.Error("without a handler: no error")
	}
	notify := func(context.Context, *pgconn.Notification) error { return nil }
	for name, err := range map[string]error{
		"no name":           listener.Handle("", notify, nil),
		"a name of 64 byte": listener.Handle(strings.Repeat("ä", 32), notify, nil),
		"no function":       listener.Handle("pages", nil, nil),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := listener.Handle(strings.Repeat("x", 63), notify, nil); err != nil {
		t.Error(err)
	}
}
