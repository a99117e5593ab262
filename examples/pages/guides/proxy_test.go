package guides_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// HAProxy accepts the configurations in the guides. Without HAProxy the test skips them.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	program := installed(t, "haproxy")
	for _, g := range guides(t) {
		for _, b := range g.of("haproxy") {
			file := filepath.Join(t.TempDir(), "haproxy.cfg")
			if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), program, "-c", "-f", file).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", b, err, out)
			}
		}
	}
}

var iniKey = regexp.MustCompile(`(?m)^([a-z_]+) = [a-z0-9]+$`)

// PgBouncer has no command that checks its configuration, so the test looks for the names of the
// settings in its program.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile(installed(t, "pgbouncer"))
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range guides(t) {
		for _, b := range g.of("ini") {
			keys := iniKey.FindAllStringSubmatch(b.text, -1)
			if len(keys) < 3 {
				t.Errorf("%s: %d settings", b, len(keys))
			}
			for _, key := range keys {
				if !bytes.Contains(program, []byte("\x00"+key[1]+"\x00")) {
					t.Errorf("%s: PgBouncer does not know %s", b, key[1])
				}
			}
		}
	}
}

func installed(t *testing.T, program string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		if file := filepath.Join(dir, program); executable(file) {
			return file
		}
	}
	t.Skip("no " + program)
	return ""
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && !info.IsDir() && info.Mode()&0o111 != 0
}
