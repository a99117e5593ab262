package pghealth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgerr"
)

const (
	outputNoAnswer = "the database does not answer in time"
	outputReadOnly = "the session cannot write"
	outputNoSlot   = "the server has no connection slot left for the probe; the pool's own connections are open"
	outputBroken   = "the database cannot be used"
)

// errReadOnly is not an error of the server, which was only asked.
var errReadOnly error = readOnlyError{}

type readOnlyError struct{}

func (readOnlyError) Error() string {
	return "transaction_read_only is on: the server is a standby, or default_transaction_read_only is set for the server, database or role"
}
func (readOnlyError) Category() pgerr.Category { return pgerr.ReadOnly }

// measureConnectivity asks the server one thing. The value is the time of the round trip, without
// connecting.
func (p *Probe) measureConnectivity(ctx context.Context) observation {
	var took time.Duration
	err := p.session.do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		took = 0
		began := time.Now()
		readOnly, err := readsOnly(ctx, conn)
		if err != nil {
			return err
		}
		took = time.Since(began)
		if readOnly && !p.opts.AllowReadOnly {
			return errReadOnly
		}
		return nil
	})

	seen := observation{status: pass}
	if err != nil {
		seen = failure(err, outputBroken)
	}
	switch {
	case errors.Is(err, errReadOnly):
		seen.output = outputReadOnly
	case seen.category == pgerr.TooManyConnections && p.poolConnected():
		// Busy, not broken: the server answered, and the service has connections to it.
		seen.status, seen.output = warn, outputNoSlot
	case seen.category == pgerr.Timeout:
		seen.output = outputNoAnswer
	}
	if took > 0 {
		ms := milliseconds(took)
		seen.value, seen.unit = &ms, "ms"
	}
	return seen
}

// poolConnected reports whether the pool has established connections.
func (p *Probe) poolConnected() bool {
	stat := p.pool.Stat()
	return stat.AcquiredConns()+stat.IdleConns() > 0
}

// readsOnly asks in the simple protocol, which leaves nothing prepared behind: PgBouncer may give
// each query another server connection. On a standby the setting is always on.
func readsOnly(ctx context.Context, conn *pgx.Conn) (bool, error) {
	results, err := conn.PgConn().Exec(ctx, "select current_setting('transaction_read_only')").ReadAll()
	if err != nil {
		return false, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 1 {
		return false, fmt.Errorf("ask for transaction_read_only: %d results instead of one row", len(results))
	}
	return string(results[0].Rows[0][0]) == "on", nil
}
