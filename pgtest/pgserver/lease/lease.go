// Package lease tells whether the process that made a database still lives, for tests and tools
// that make databases by the hundred and may be killed at any moment.
//
// A process takes a [Lease] and puts its token into the name of each database that it makes. The
// lease is an advisory lock of one session, so it ends with the process, however the process ends.
// Every session on the server sees it, whatever database the session is connected to.
package lease

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
)

// ErrLost says that the session with the lock has ended, alone or with its server. Other processes
// may drop this one's databases from now on.
var ErrLost = errors.New("the server has ended the session that marks this process as alive")

// Lease is a token and the session that holds its lock. It is safe for concurrent use.
type Lease struct {
	space string
	token string

	mu   sync.Mutex
	conn *pgx.Conn
}

// Take draws a token and locks it on conn, which the lease owns from then on, even if Take fails.
// Leases of different spaces know nothing of each other.
func Take(ctx context.Context, conn *pgx.Conn, space string) (*Lease, error) {
	l := &Lease{space: space, conn: conn}
	// Some servers end idle sessions, and the lock would end with this one.
	if _, err := conn.Exec(ctx, "set idle_session_timeout = 0"); err != nil {
		l.Close(ctx)
		return nil, err
	}
	for {
		var random [4]byte
		rand.Read(random[:]) // never fails
		l.token = hex.EncodeToString(random[:])
		var got bool
		err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1, $2)", spaceKey(space), tokenKey(l.token)).Scan(&got)
		if err != nil {
			l.Close(ctx)
			return nil, fmt.Errorf("lock %s: %w", l.token, err)
		}
		if got { // else another process drew the same token
			return l, nil
		}
	}
}

// Token returns eight hexadecimal digits that no other living process has in this space.
func (l *Lease) Token() string { return l.token }

// Do runs fn on the lease's session, one caller at a time. The error is [ErrLost], with fn's, if
// the session has ended.
func (l *Lease) Do(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := fn(ctx, l.conn)
	if l.conn.IsClosed() {
		return errors.Join(ErrLost, err)
	}
	return err
}

// Close ends the session, and the lease with it.
func (l *Lease) Close(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn.Close(ctx)
	select { // goroutines of a canceled statement
	case <-l.conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}

// Living returns the tokens of all processes that hold a lease of the space, on the whole server.
//
// List the databases before: a process takes its lease before it makes a database, so a name that
// was there already and has no lease belongs to a process that has ended.
func Living(ctx context.Context, conn *pgx.Conn, space string) (map[string]bool, error) {
	// Two keys of 32 bits: pg_locks shows them as unsigned numbers, with 2 in objsubid.
	rows, err := conn.Query(ctx, `select objid::bigint from pg_locks where locktype = 'advisory'
		and objsubid = 2 and granted and classid::bigint = $1`, int64(uint32(spaceKey(space))))
	if err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	living := map[string]bool{}
	for _, key := range keys {
		living[fmt.Sprintf("%08x", uint32(key))] = true
	}
	return living, nil
}

func spaceKey(space string) int32 {
	f := fnv.New32a()
	f.Write([]byte("lease\x00" + space))
	return int32(f.Sum32())
}

// tokenKey is the token's number; a token that is none has the number 0.
func tokenKey(token string) int32 {
	n, _ := strconv.ParseUint(token, 16, 32)
	return int32(uint32(n))
}
