package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	testscript.Main(m, map[string]func(){"pgmigrate": main})
}

// Every script has an empty database of its own in DATABASE_URL, and an empty environment
// otherwise.
func TestScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) {
			t.Parallel()
			runScript(t, script, pgserver.Database(t))
		})
	}
}

func runScript(t *testing.T, script, url string) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Files:               []string{script},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, "DATABASE_URL="+url, "DATABASE_CONNECT_TIMEOUT=1m", // a busy machine
				"GORACE=atexit_sleep_ms=0") // under -race every exit would take a second
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "sql": sql, "sql-until": sqlUntil, "without-tls": withoutTLS, "silent": silent,
		},
	})
}

// exits CODE COMMAND…: runs a command that must end with that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG…]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
	for _, stack := range []string{"goroutine ", "panic: "} {
		if strings.Contains(ts.ReadFile("stderr"), stack) {
			ts.Fatalf("stderr holds a stack")
		}
	}
}

// sql STATEMENT: runs a statement on the script's database; its first value goes to stdout.
func sql(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sql STATEMENT")
	}
	value, err := query(ts, args[0])
	if err != nil {
		ts.Fatalf("%v", err)
	}
	fmt.Fprintln(ts.Stdout(), value)
}

// sql-until QUERY: waits until a query answers true.
func sqlUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sql-until QUERY")
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		value, err := query(ts, args[0])
		if err != nil {
			ts.Fatalf("%v", err)
		}
		if value == "t" {
			return
		}
	}
	ts.Fatalf("not true within 20 s")
}

func query(ts *testscript.TestScript, statement string) (string, error) {
	url := ts.Getenv("DATABASE_URL")
	if url == "" {
		return "", errors.New("DATABASE_URL is not set")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", errors.New("cannot connect") // not err: it may quote the address
	}
	defer conn.Close(ctx)
	results, err := conn.PgConn().Exec(ctx, statement).ReadAll()
	if err != nil {
		return "", err
	}
	for _, r := range results {
		if len(r.Rows) > 0 {
			return string(r.Rows[0][0]), nil
		}
	}
	return "", nil
}

// A wrong password needs a server that asks for one, and a role without rights should not be left
// on a shared one.
func TestLogin(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{})
	server.Write(t, "pg_hba.conf", "local all app scram-sha-256\nlocal all all trust\n")
	server.Restart(t)
	server.Exec(t, "create role app login password 'right'", "revoke create on schema public from public")
	as := func(password string) string {
		return fmt.Sprintf("postgres://app:%s@/postgres?host=%s&port=5432", password, server.SocketDir())
	}
	for password, script := range map[string]string{"s3cret": "wrong_password", "right": "no_permission"} {
		t.Run(script, func(t *testing.T) { runScript(t, "testdata/"+script+".txtar", as(password)) })
	}
	server.Exec(t, "grant create on schema public to app")
	t.Run("no_schema", func(t *testing.T) { runScript(t, "testdata/no_schema.txtar", as("right")) })
	server.Exec(t, "alter role app connection limit 0")
	t.Run("no_slot", func(t *testing.T) { runScript(t, "testdata/no_slot.txtar", as("right")) })
}
