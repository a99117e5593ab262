package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgtest"
)

// The programs take their settings from the environment, and SIGTERM ends them cleanly.
func TestMains(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../cmd/host", "../cmd/render")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	url := pgtest.URL(t)
	cfg, err := pgconfig.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	publishSite(t, cfg)
	for _, name := range []string{"host", "render"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), filepath.Join(bin, name), "-address", "127.0.0.1:0")
			cmd.Env = append(withoutDatabase(cmd.Environ()), "DATABASE_URL="+url)
			log, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(log)
			var all []string
			for address := ""; address == "" && lines.Scan(); {
				all = append(all, lines.Text())
				var record struct{ Msg, Address string }
				if json.Unmarshal(lines.Bytes(), &record) == nil && record.Msg == "serving" {
					address = record.Address
					if status, body, _, err := send(t.Context(), http.MethodGet, "http://"+address+"/readyz",
						""); status != http.StatusOK || err != nil {
						t.Errorf("/readyz: %d %s %v", status, body, err)
					}
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			for lines.Scan() {
				all = append(all, lines.Text())
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v\n%s", err, strings.Join(all, "\n"))
			}
		})
		t.Run(name+" without a database", func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), filepath.Join(bin, name))
			cmd.Env = withoutDatabase(cmd.Environ())
			cmd.Dir = bin // without a .env
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 ||
				!bytes.Contains(out, []byte("DATABASE_URL is not set")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func withoutDatabase(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool {
		return strings.HasPrefix(v, "PG") || strings.HasPrefix(v, "DATABASE_") || strings.HasPrefix(v, "APP_ENV") ||
			strings.HasPrefix(v, "DIRECT_")
	})
}
