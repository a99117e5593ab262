package listen_test

import (
	"context"
	"errors"
	"flag"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgpool/internal/testkit"
	"github.com/page-builder/persistence/pgpool/listen"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // more than cores, as tests wait; -parallel is read later and wins
	goleak.VerifyTestMain(m)
}

// patience is how long a busy machine may take for what usually takes milliseconds.
const patience = 30 * time.Second

func parse(t *testing.T, url string) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal("cannot parse the database's URL")
	}
	return config
}

func connect(t *testing.T, config *pgx.ConnConfig) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func newListener(t *testing.T, config *pgx.ConnConfig, opts ...listen.Option) *listen.Listener {
	t.Helper()
	listener, err := listen.NewConfig(config, append([]listen.Option{listen.WithLogger(nil)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func handle(t *testing.T, listener *listen.Listener, channel string,
	notify func(context.Context, *pgconn.Notification) error, resync func(context.Context, *pgx.Conn) error,
) {
	t.Helper()
	if notify == nil {
		notify = func(context.Context, *pgconn.Notification) error { return nil }
	}
	if err := listener.Handle(channel, notify, resync); err != nil {
		t.Fatal(err)
	}
}

// hear returns the payloads that arrive on the channel "pages".
func hear(t *testing.T, listener *listen.Listener) <-chan string {
	t.Helper()
	heard := make(chan string, 1)
	handle(t, listener, "pages", func(_ context.Context, n *pgconn.Notification) error {
		heard <- n.Payload
		return nil
	}, nil)
	return heard
}

// countDials counts the connections that config makes, through a proxy.
func countDials(t *testing.T, config *pgx.ConnConfig) *atomic.Int32 {
	t.Helper()
	proxy := through(t, config)
	dials := &atomic.Int32{}
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return proxy.Dial(ctx, network, address)
	}
	return dials
}

// run runs the listener until the end of the test and checks that it ends with its context.
func run(t *testing.T, listener *listen.Listener) {
	t.Helper()
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
		case <-time.After(patience):
			t.Error("Listen did not end with its context")
		}
		if _, err := listener.Alive(); !errors.Is(err, listen.ErrNotListening) {
			t.Errorf("after Listen: %v, want ErrNotListening", err)
		}
	})
}

func alive(listener *listen.Listener) bool {
	_, err := listener.Alive()
	return err == nil
}

// eventually waits until condition holds.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s", patience)
		}
		time.Sleep(2 * time.Millisecond) // polls
	}
}

// receive waits for a value.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		t.Fatalf("nothing within %s", patience)
		panic("unreachable")
	}
}

// through makes config connect through a proxy.
func through(t *testing.T, config *pgx.ConnConfig) *fault.Proxy {
	t.Helper()
	p := fault.NewProxy(t, config.ConnString(), fault.Options{})
	config.DialFunc = p.Dial
	return p
}

type logs = testkit.Logs

func database(t *testing.T) *pgx.ConnConfig {
	t.Helper()
	return parse(t, pgserver.Database(t))
}
