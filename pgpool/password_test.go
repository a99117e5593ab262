package pgpool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/internal/testkit"
)

func TestConnectFailsAtOnceForWrongPassword(t *testing.T) {
	t.Parallel()
	const right, wrong = "open-sesame-31", "open-barley-47"
	secured := testkit.PasswordServer(t, "visitor", right)

	// The right one first, or a server that lets nobody in would pass.
	connect(t, parse(t, secured(right)))

	var log logs
	var seen connectErrors
	_, err := pgpool.ConnectConfig(t.Context(), parse(t, secured(wrong)), pgpool.WithLogger(log.Logger()),
		pgpool.WithTracer(&seen))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || failed.Attempts != 1 || failed.Ended != nil {
		t.Fatalf("error is %v, want a StartupError after one attempt", err)
	}
	if got := pgerr.Of(err); got != pgerr.Auth || !strings.Contains(err.Error(), "check user and password") {
		t.Errorf("error is %v of category %s, want auth and what to do", err, got)
	}

	// The tracer's error is pgx's own, and is not changed after the tracer got it.
	var traced *pgconn.ConnectError
	if len(seen.all) != 1 || !errors.As(seen.all[0], &traced) || traced.Config.Password != wrong {
		t.Errorf("the tracer's errors are %v, want pgx's own with its configuration", seen.all)
	}

	encoded, _ := json.Marshal(err)
	var inner *pgconn.ConnectError
	if !errors.As(err, &inner) {
		t.Fatal("pgx's error is not in the chain")
	}
	for where, text := range map[string]string{
		"%v": fmt.Sprintf("%v", err), "%+v": fmt.Sprintf("%+v", err), "%#v": fmt.Sprintf("%#v", err),
		"JSON": string(encoded), "the log": log.String(), "pgx's configuration": fmt.Sprintf("%+v", *inner.Config),
	} {
		if strings.Contains(text, wrong) {
			t.Errorf("the password is in %s", where)
		}
	}
}

// connectErrors is a tracer that keeps the errors of connects.
type connectErrors struct {
	pgx.QueryTracer // not called
	all             []error
}

func (c *connectErrors) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}

func (c *connectErrors) TraceConnectEnd(_ context.Context, data pgx.TraceConnectEndData) {
	c.all = append(c.all, data.Err)
}
