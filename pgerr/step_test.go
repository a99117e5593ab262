package pgerr_test

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// TestStep: the cause has neither a type nor a value of its own. pgconn's name for the step decides
// where it can.
func TestStep(t *testing.T) {
	t.Parallel()
	const wait = true
	for _, test := range []struct {
		name     string
		url      string
		category pgerr.Category
		wait     bool
	}{
		{"another login wanted", pgserver.Database(t) + "&require_auth=gss", pgerr.Auth, !wait},
		{
			"no mechanism of ours", "postgres://u:p@" + serveConns(t,
				answer("R\x00\x00\x00\x0f\x00\x00\x00\x0aOTHER\x00\x00")) + "/d?sslmode=disable",
			pgerr.Auth, !wait,
		},
		{
			"not a message", "postgres://u@" + serveConns(t, answer("HTTP/1.1 400 Bad Request\r\n\r\n")) +
				"/d?sslmode=disable", pgerr.Unknown, !wait,
		},
		{
			"first refused, second with a defect", "postgres://u@" + closedAddress + "," + serveConns(t, fail("XX000")) +
				"/d?sslmode=disable",
			pgerr.Refused, !wait,
		},
		{
			"first with a defect, second out of memory",
			"postgres://u@" + serveConns(t, fail("XX000")) + "," + serveConns(t, fail("53200")) + "/d?sslmode=disable",
			pgerr.Internal, !wait,
		},
		{
			"first refused, second no server", "postgres://u@" + closedAddress + "," + serveConns(t,
				answer("HTTP/1.1 400 Bad Request\r\n\r\n")) + "/d?sslmode=disable",
			pgerr.Refused, wait,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := pgx.Connect(t.Context(), test.url)
			check(t, err, test.category, test.wait, test.wait)
		})
	}
}

// TestClosedSocket: a directory that only others may enter. Root may enter it too, so the error is
// made by hand as package net does.
func TestClosedSocket(t *testing.T) {
	t.Parallel()
	check(t, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)},
		pgerr.Permission, false, false)
}

// slow is an error of another package that only says that it is a timeout.
type slow struct{ error }

func (slow) Timeout() bool { return true }

func TestTimeoutOnly(t *testing.T) {
	t.Parallel()
	check(t, slow{errors.New("too slow")}, pgerr.Timeout, false, true)
}
