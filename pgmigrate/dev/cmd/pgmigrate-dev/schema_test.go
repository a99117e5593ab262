package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// Every script has an empty database of its own in DATABASE_URL, and LIVE as its second name.
func TestSchemaScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/schema/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) {
			t.Parallel()
			url := pgserver.Database(t)
			testscript.Run(t, testscript.Params{
				Files:               []string{script},
				RequireExplicitExec: true,
				RequireUniqueNames:  true,
				Setup: func(e *testscript.Env) error {
					e.Vars = append(e.Vars, "DATABASE_URL="+url, "LIVE="+url, "APP_ENV=test",
						// Under -race every exit would take a second.
						"XDG_CACHE_HOME="+cacheHome(), "PGTEST_BINDIR="+os.Getenv("PGTEST_BINDIR"),
						"GORACE=atexit_sleep_ms=0")
					return os.WriteFile(filepath.Join(e.WorkDir, "go.mod"), []byte("module example.com/app\n"), 0o644)
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"exits": exits, "sql": execute, "up": up,
				},
				Condition: func(name string) (bool, error) { return condition(t, url, name) },
			})
		})
	}
}

// condition is [pg15] and the like: the server has that major version or a later one.
func condition(t *testing.T, url, name string) (bool, error) {
	major, err := strconv.Atoi(strings.TrimPrefix(name, "pg"))
	if err != nil {
		return false, err
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var version int
	err = conn.QueryRow(t.Context(), "select current_setting('server_version_num')::int").Scan(&version)
	return version/10000 >= major, err
}

// cacheHome is the real one, so that a script's server need not be made from nothing.
func cacheHome() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return os.TempDir()
	}
	return dir
}

// execute is sql STATEMENT…: runs the statements on the script's database.
func execute(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, ts.Getenv("LIVE"))
	if err != nil {
		ts.Fatalf("connect to the script's database: %v", err)
	}
	defer conn.Close(ctx)
	for _, statement := range args {
		if _, err := conn.Exec(ctx, statement); err != nil {
			ts.Fatalf("%s: %v", statement, err)
		}
	}
}

// up FOLDER: applies migrations to the script's database.
func up(ts *testscript.TestScript, _ bool, args []string) {
	cfg, err := pgx.ParseConfig(ts.Getenv("LIVE"))
	if err != nil {
		ts.Fatalf("the script's database: no address")
	}
	m, err := pgmigrate.New(cfg, os.DirFS(ts.MkAbs(args[0])), pgmigrate.WithLogger(nil))
	if err != nil {
		ts.Fatalf("%v", err)
	}
	if _, err := m.Up(context.Background()); err != nil {
		ts.Fatalf("%v", err)
	}
}
