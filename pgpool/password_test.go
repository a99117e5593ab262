package pgpool_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

func TestConnectFailsAtOnceForWrongPassword(t *testing.T) {
	t.Parallel()
	const right, wrong = "open-sesame-31", "open-barley-47"
	secured := serverWithPassword(t, "visitor", right)

	// The right one first, or a server that lets nobody in would pass.
	connect(t, parse(t, secured(right)))

	var log logs
	_, err := pgpool.ConnectConfig(t.Context(), parse(t, secured(wrong)), pgpool.WithLogger(log.logger()))
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

// serverWithPassword starts a server that asks the role for its password, and returns its URL with
// a given password.
func serverWithPassword(t *testing.T, role, password string) func(password string) string {
	t.Helper()
	// Not t.TempDir: as root the server runs as somebody else, who has to get in.
	dir, err := os.MkdirTemp("", "pgpool-hba-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	hba := filepath.Join(dir, "pg_hba.conf")
	rules := fmt.Sprintf("local all %s scram-sha-256\nlocal all all trust\n", role)
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(hba, []byte(rules), 0o644)); err != nil { //nolint:gosec // holds no secret
		t.Fatal(err)
	}
	server, err := pgserver.Acquire(t.Context(), pgserver.Options{Settings: map[string]string{"hba_file": hba}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Release() })

	admin, err := pgx.Connect(t.Context(), server.DatabaseURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	if _, err := admin.Exec(t.Context(), fmt.Sprintf(`create role %s login password '%s'`, role, password)); err != nil {
		t.Fatal("cannot create the role")
	}
	return func(password string) string {
		u, err := url.Parse(server.DatabaseURL("postgres"))
		if err != nil {
			t.Fatal("cannot parse the server's URL")
		}
		u.User = url.UserPassword(role, password)
		return u.String()
	}
}
