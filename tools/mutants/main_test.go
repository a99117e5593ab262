package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// files are a module that is replaced in another by a relative path. Its test notices one of two
// faults: x < 0 as x <= 0 lives.
var files = map[string]string{
	"m/go.mod": "module example.com/m\n\ngo 1.25.0\n\nrequire example.com/n v0.1.0\n\nreplace example.com/n => ../n\n",
	"m/m.go": "package m\n\nfunc Negative(x int) bool { return x < 0 }\n\n" +
		"func Same(x, y int) bool { return x == y }\n",
	"m/m_test.go": "package m\n\nimport (\n\t\"testing\"\n\n\t\"example.com/n\"\n)\n\n" +
		"func Test(t *testing.T) {\n\tif Negative(n.One) {\n\t\tt.Fatal(\"1 is negative\")\n\t}\n}\n",
	"n/go.mod": "module example.com/n\n\ngo 1.25.0\n",
	"n/n.go":   "package n\n\nconst One = 1\n",
}

func TestRun(t *testing.T) {
	t.Parallel()
	gremlins := build(t)
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	module := filepath.Join(dir, "m")
	var out bytes.Buffer
	below, err := run(t.Context(), gremlins, []string{module + "=50", module + "=50.1"}, &out)
	const lived = "    m.go:3:38 conditionals_boundary\n"
	want := module + "  50.0 %  goal 50 %  1 of 2 faults noticed, 1 not tried\n" + lived +
		module + "  50.0 %  goal 50.1 %  1 of 2 faults noticed, 1 not tried  BELOW\n" + lived
	if err != nil || below != 1 || out.String() != want {
		t.Errorf("%d below, %v; it printed\n%swant\n%s", below, err, &out, want)
	}
	if _, err := run(t.Context(), gremlins, []string{filepath.Join(dir, "none")}, &out); err == nil {
		t.Error("a folder without a module has a score")
	}
	if _, err := run(t.Context(), gremlins, []string{module + "=much"}, &out); err == nil {
		t.Error("much is a goal")
	}
	if got, err := os.ReadFile(filepath.Join(module, "go.mod")); err != nil || string(got) != files["m/go.mod"] {
		t.Errorf("go.mod is changed: %v\n%s", err, got)
	}
}

// build returns the gremlins that tools/go.mod pins.
func build(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-n", "gremlins")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
