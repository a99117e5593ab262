package pgpool_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

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
	_, err := pgpool.ConnectConfig(t.Context(), parse(t, secured(wrong)), pgpool.WithLogger(log.Logger()))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || failed.Attempts != 1 || failed.Ended != nil {
		t.Fatalf("error is %v, want a StartupError after one attempt", err)
	}
	if got := pgerr.Of(err); got != pgerr.Auth || !strings.Contains(err.Error(), "check user and password") {
		t.Errorf("error is %v of category %s, want auth and what to do", err, got)
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
