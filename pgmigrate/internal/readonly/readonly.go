// Package readonly makes sessions that only read.
package readonly

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const setting = "default_transaction_read_only"

// Session makes the sessions of cfg read-only. Without target_session_attrs the setting travels
// with the start-up message. With target_session_attrs=read-write pgx first asks each server
// whether a new session may write, so the setting follows in its own round trip.
func Session(cfg *pgx.ConnConfig) {
	if cfg.ValidateConnect == nil {
		if cfg.RuntimeParams == nil {
			cfg.RuntimeParams = map[string]string{}
		}
		cfg.RuntimeParams[setting] = "on"
		return
	}
	after := cfg.AfterConnect
	cfg.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if after != nil {
			if err := after(ctx, conn); err != nil {
				return err
			}
		}
		return conn.Exec(ctx, "set "+setting+" = on").Close()
	}
}
