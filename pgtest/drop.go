package pgtest

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// drop drops a test's database and ends its sessions. On a throw-away server this happens a moment
// later, and drop blocks only while [pendingDrops] others wait. On PGTEST_URL's server drop waits,
// because the process may end right after.
func (h *host) drop(name string) error {
	if !h.server.Ephemeral() {
		h.waitForBackends(name)
		return h.dropNow(name)
	}
	h.pending <- struct{}{}
	time.AfterFunc(dropDelay, func() {
		background(func() {
			defer func() { <-h.pending }()
			h.waitForBackends(name)
			h.note(h.dropNow(name))
		})
	})
	return nil
}

func (h *host) dropNow(name string) error {
	return h.drops.exec(context.Background(), "drop database if exists "+quoted(name)+" with (force)")
}

// waitForBackends returns when the database has no sessions, or after exitWait. A session that is
// still there then is a leak, and the drop ends it.
func (h *host) waitForBackends(name string) {
	for deadline := time.Now().Add(exitWait); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var used bool
		err := h.control(context.Background(), func(ctx context.Context, conn *pgx.Conn) error {
			return conn.QueryRow(ctx,
				"select coalesce(bool_or(pg_stat_get_db_numbackends(oid) > 0), false) from pg_database where "+
					"datname = $1", name).Scan(&used)
		})
		if err != nil || !used {
			return
		}
	}
}

// note keeps an error, if it is one, for the next test to log.
func (h *host) note(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = errors.Join(h.failed, err)
}

// failures returns what went wrong with drops since the last call.
func (h *host) failures() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.failed
	h.failed = nil
	return err
}
