package chaos

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool/listen"
	"github.com/page-builder/persistence/pgtx"
)

const (
	eventPause = 50 * time.Millisecond
	// horizon is how far back the consumer looks for rows that became visible after rows with a
	// higher id.
	horizon = 100
	// consumeLimit limits one read; the consumer then tries again.
	consumeLimit = 2 * time.Second
)

// events is a table with one producer and one consumer. The consumer reads it after every
// notification and after every connect.
type events struct {
	pool     *pgxpool.Pool
	table    string
	channel  string
	listener atomic.Pointer[listen.Listener] // nil until consume

	mu      sync.Mutex
	written map[int64]time.Time // acknowledged
	got     map[int64]time.Time
	highest int64
	resync  int // events that came by a resync
}

func (e *events) create(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, fmt.Sprintf(`create table %s (n bigint primary key)`, e.table))
	return err
}

func (e *events) produce(stop context.Context) {
	for n := int64(1); stop.Err() == nil; n++ {
		err := pgtx.RunWith(context.WithoutCancel(stop), e.pool, options(), func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `insert into `+e.table+` values ($1)`, n); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `select pg_notify($1, '')`, e.channel)
			return err
		})
		if err == nil {
			e.mu.Lock()
			e.written[n] = time.Now()
			e.mu.Unlock()
		}
		sleep(stop, eventPause)
	}
}

// consume listens until ctx ends.
func (e *events) consume(ctx context.Context, cfg pgconfig.Config) error {
	listener, err := listen.New(cfg, listen.WithLogger(nil))
	if err != nil {
		return err
	}
	e.listener.Store(listener)
	err = listener.Handle(e.channel,
		func(ctx context.Context, _ *pgconn.Notification) error {
			for {
				// A notification comes once, so the consumer tries until it has read the row.
				err := e.look(ctx, e.pool.Query, false)
				if err == nil || ctx.Err() != nil {
					return err
				}
				sleep(ctx, 100*time.Millisecond)
			}
		},
		func(ctx context.Context, conn *pgx.Conn) error { return e.look(ctx, conn.Query, true) },
	)
	if err != nil {
		return err
	}
	if err := listener.Listen(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}

func (e *events) look(
	ctx context.Context, query func(context.Context, string, ...any) (pgx.Rows, error), resync bool,
) error {
	ctx, cancel := context.WithTimeout(ctx, consumeLimit)
	defer cancel()
	e.mu.Lock()
	from := e.highest - horizon
	e.mu.Unlock()
	rows, err := query(ctx, `select n from `+e.table+` where n > $1 order by n`, from)
	if err != nil {
		return err
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range all {
		if _, known := e.got[n]; known {
			continue
		}
		e.got[n] = time.Now()
		e.highest = max(e.highest, n)
		if resync {
			e.resync++
		}
	}
	return nil
}

// missed returns the events that were not consumed.
func (e *events) missed(there []int64) (missed int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range there {
		if _, ok := e.got[n]; !ok {
			missed++
		}
	}
	return missed
}

// delay returns the longest time from an event's acknowledgement to its consumption.
func (e *events) delay() (longest time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for n, at := range e.written {
		if got, ok := e.got[n]; ok {
			longest = max(longest, got.Sub(at))
		}
	}
	return longest
}
