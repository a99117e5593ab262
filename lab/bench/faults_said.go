package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtx"
)

// said names an error in a word or two, by what a program could find in it.
func said(err error) string {
	var (
		server   *pgconn.PgError
		unknown  *pgtx.CommitUnknownError
		swallows *pgtx.SwallowedError
		dial     *net.OpError
		network  net.Error
	)
	switch {
	case err == nil:
		return "succeeds"
	case errors.As(err, &unknown):
		return "`CommitUnknownError`"
	case errors.As(err, &swallows):
		return "`SwallowedError`"
	case errors.Is(err, pgpool.ErrExhausted):
		return "`ErrExhausted`"
	case errors.Is(err, pgpool.ErrNotAnswering):
		return "`ErrNotAnswering`"
	case errors.Is(err, pgx.ErrTxCommitRollback):
		return "`ErrTxCommitRollback`"
	case errors.As(err, &server):
		return "error " + server.Code
	case errors.Is(err, context.Canceled):
		return "`context.Canceled`"
	case errors.Is(err, context.DeadlineExceeded):
		return "`context.DeadlineExceeded`"
	case errors.Is(err, sql.ErrTxDone):
		return "`sql.ErrTxDone`"
	case errors.As(err, &dial) && dial.Op == "dial":
		return "cannot connect"
	case errors.Is(err, driver.ErrBadConn):
		return "`ErrBadConn`"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network),
		strings.Contains(err.Error(), "conn closed"):
		return "broken connection"
	default:
		return "an error"
	}
}

// after says how long it took to the tenth of a second, which is as much as a shared machine can
// promise.
func after(d time.Duration) string {
	if d < 100*time.Millisecond {
		return "at once"
	}
	return fmt.Sprintf("after %.1f s", d.Seconds())
}

// waited is the cell of something that should end by itself and not succeed, because it cannot.
func waited(took time.Duration, ended bool, err error, limit time.Duration) cell {
	if !ended {
		return cell{fmt.Sprintf("no end in %.0f s", limit.Seconds()), wrong}
	}
	return cell{said(err) + " " + after(took), told}
}
