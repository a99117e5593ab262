package pgbouncer_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/page-builder/persistence/pgpool/internal/pgbouncer"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// failing is a test that keeps what it fails with.
type failing struct {
	*testing.T
	said string
}

func (f *failing) Fatal(args ...any) { f.Fatalf("%s", fmt.Sprint(args...)) }

func (f *failing) Skip(args ...any) { f.Fatalf("skipped: %s", fmt.Sprint(args...)) }

func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure returns what f ends a test with.
func failure(t *testing.T, f func(t testing.TB)) string {
	t.Helper()
	failed := &failing{T: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(failed)
	}()
	<-ended
	return failed.said
}

// What keeps PgBouncer from starting is what the test fails with.
func TestStartThatFails(t *testing.T) {
	t.Parallel()
	database := pgserver.Database(t)
	for name, tt := range map[string]struct {
		database string
		settings []string
		want     string
	}{
		"setting that does not exist": {database, []string{"pool_mode = nonsense"}, "pgbouncer ended: "},
		"no URL":                      {"postgres://app:sesame@db:port/app", nil, "cannot parse the database's URL"},
		"no server":                   {"postgres://app:sesame@/app?host=/no/such/socket", nil, "no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("pgbouncer"); err != nil {
				t.Skip(err)
			}
			said := failure(t, func(t testing.TB) { pgbouncer.Start(t, tt.database, tt.settings...) })
			if !strings.Contains(said, tt.want) || strings.Contains(said, "sesame") {
				t.Errorf("the test failed with %q, want %q in it and no password", said, tt.want)
			}
		})
	}
}

// Not parallel: it is about the process's PATH.
func TestProgramThatIsMissingOrBroken(t *testing.T) {
	database := pgserver.Database(t)
	path := t.TempDir()
	t.Setenv("PATH", path)
	start := func(t testing.TB) { pgbouncer.Start(t, database) }
	if said := failure(t, start); !strings.HasPrefix(said, "skipped: ") || !strings.Contains(said, "apt-get install pgbouncer") {
		t.Errorf("%q, want a skip that says how to install it", said)
	}
	if err := os.WriteFile(filepath.Join(path, "pgbouncer"), []byte("no program"), 0o755); err != nil { // is to be run
		t.Fatal(err)
	}
	// As root it is run as the server's user, who cannot enter a folder of ours.
	if said := failure(t, start); !strings.Contains(said, "exec format error") && !strings.Contains(said, "permission denied") {
		t.Errorf("the test failed with %q, want the reason", said)
	}
}

func TestSameUserOfNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none")
	if said := failure(t, func(t testing.TB) { pgbouncer.SameUser(t, path) }); !strings.Contains(said, path) {
		t.Errorf("the test failed with %q, want the path that is missing", said)
	}
}

// It ends with the test that started it, and takes its files along.
func TestEnd(t *testing.T) {
	t.Parallel()
	database := pgserver.Database(t)
	var socket string
	t.Run("in use", func(t *testing.T) {
		url := pgbouncer.Start(t, database)
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		socket = filepath.Join(conn.Config().Host, ".s.PGSQL.6432")
		if _, err := os.Stat(socket); err != nil {
			t.Error(err)
		}
	})
	if socket == "" {
		t.Skip("without PgBouncer there is nothing to end")
	}
	if conn, err := pgx.Connect(t.Context(), "postgres://postgres@/app?port=6432&host="+filepath.Dir(socket)); err == nil {
		conn.Close(t.Context())
		t.Error("it still answers")
	}
	if _, err := os.Stat(filepath.Dir(socket)); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
}
