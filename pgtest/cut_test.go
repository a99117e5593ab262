package pgtest_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgtest"
)

// cutDatabase returns a database, a connection to it through a switch, and the switch.
func cutDatabase(t *testing.T) (direct string, s *pgtest.Switch, conn *pgx.Conn) {
	t.Helper()
	direct = pgtest.URL(t, pgtest.Migrations(twoTables))
	s = pgtest.Cut(t, direct)
	return direct, s, cutConnect(t, s)
}

func cutConnect(t *testing.T, s *pgtest.Switch) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func TestCutRefuse(t *testing.T) {
	t.Parallel()
	_, s, conn := cutDatabase(t)
	s.Refuse()
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("the open connection works")
	}
	if _, err := pgx.Connect(t.Context(), s.URL()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
	if err := s.Heal(); err != nil {
		t.Fatal(err)
	}
	if err := cutConnect(t, s).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCutSever(t *testing.T) {
	t.Parallel()
	_, s, conn := cutDatabase(t)
	s.Sever()
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("the open connection works")
	}
	if err := cutConnect(t, s).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCutBlackHole(t *testing.T) {
	t.Parallel()
	_, s, conn := cutDatabase(t)
	s.BlackHole()
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := pgx.Connect(short, s.URL()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	answered := make(chan error, 1)
	go func() { answered <- conn.Ping(context.Background()) }()
	select {
	case err := <-answered:
		t.Fatalf("answered: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if err := s.Heal(); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestCutDelay(t *testing.T) {
	t.Parallel()
	_, s, conn := cutDatabase(t)
	const delay = 300 * time.Millisecond
	s.Delay(delay)
	began := time.Now()
	if err := conn.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("took %s", took)
	}
}

// The transaction is committed, and the program does not hear of it; the second COMMIT passes.
func TestCutCommits(t *testing.T) {
	t.Parallel()
	direct, s, conn := cutDatabase(t)
	s.CutCommits(1)
	insert := func(conn *pgx.Conn, id int) error {
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), "insert into pages values ($1)", id); err != nil {
			t.Fatal(err)
		}
		return tx.Commit(t.Context())
	}
	if err := insert(conn, 1); err == nil || !conn.IsClosed() {
		t.Errorf("commit: %v, closed %v", err, conn.IsClosed())
	}
	if got := scan(t, direct, "select count(*)::text from pages"); got != "1" {
		t.Errorf("%s rows", got)
	}
	if err := insert(cutConnect(t, s), 2); err != nil {
		t.Error(err)
	}
}

// A program that hears of a COMMIT which the server refuses is told so, and the cut waits for one
// that is done.
func TestCutCommitsPassesRefusal(t *testing.T) {
	t.Parallel()
	direct, s, conn := cutDatabase(t)
	execURL(t, direct, "create table links (id int references pages deferrable initially deferred)")
	s.CutCommits(1)
	var refused *pgconn.PgError
	if _, err := conn.Exec(t.Context(), "begin; insert into links values (99); commit"); !errors.As(err, &refused) {
		t.Errorf("got %v, want the server's refusal", err)
	}
	if _, err := conn.Exec(t.Context(), "begin; insert into pages values (1); commit"); err == nil || !conn.IsClosed() {
		t.Errorf("commit: %v, closed %v", err, conn.IsClosed())
	}
	if got := scan(t, direct, "select count(*)::text from pages"); got != "1" {
		t.Errorf("%s rows", got)
	}
}

// libpq asks for TLS on a Unix socket, too.
func TestCutAnswersSSLRequest(t *testing.T) {
	t.Parallel()
	_, s, conn := cutDatabase(t)
	network, address := pgconn.NetworkAddress(conn.Config().Host, conn.Config().Port)
	client, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	answer := make([]byte, 1)
	_, err = client.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}) // SSLRequest
	if err == nil {
		_, err = client.Read(answer)
	}
	if err != nil || answer[0] != 'N' {
		t.Errorf("answer %q, %v; want N", answer, err)
	}
	s.Sever()
}
