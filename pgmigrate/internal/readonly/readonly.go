// Package readonly makes sessions that only read.
package readonly

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const setting = "default_transaction_read_only"

// Session makes the sessions of cfg read-only. With target_session_attrs=read-write pgx asks each
// server whether a new session may write, so the setting comes behind that, in a round trip of its
// own; without target_session_attrs it travels with the start-up message.
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
