package lease_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/lease"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func take(t *testing.T, url, space string) *lease.Lease {
	t.Helper()
	l, err := lease.Take(t.Context(), connect(t, url), space)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A lease is seen from every database of the server, in its own space only, until its session ends.
func TestLiving(t *testing.T) {
	t.Parallel()
	url, elsewhere := pgserver.Database(t), pgserver.Database(t)
	space := t.Name()
	living, ended, other := take(t, url, space), take(t, url, space), take(t, url, space+" other")
	look := func() map[string]bool {
		t.Helper()
		found, err := lease.Living(t.Context(), connect(t, elsewhere), space)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if got := look(); !got[living.Token()] || !got[ended.Token()] || got[other.Token()] {
		t.Errorf("living: %v, want %s and %s, without %s", got, living.Token(), ended.Token(), other.Token())
	}
	ended.Close(t.Context())
	for look()[ended.Token()] { // the server notices within moments
		if t.Context().Err() != nil {
			t.Fatal("an ended lease counts as living")
		}
	}
	if !look()[living.Token()] {
		t.Error("a living lease counts as ended")
	}
}

// The process learns that its session was ended.
func TestLost(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	l := take(t, url, t.Name())
	var pid int
	if err := l.Do(t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, url).Exec(t.Context(), "select pg_terminate_backend($1, 60000)", pid); err != nil {
		t.Fatal(err)
	}
	err := l.Do(t.Context(), func(ctx context.Context, conn *pgx.Conn) error { return conn.Ping(ctx) })
	if !errors.Is(err, lease.ErrLost) {
		t.Errorf("got %v, want %v", err, lease.ErrLost)
	}
}
