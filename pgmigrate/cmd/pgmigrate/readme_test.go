package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

var manifestArgs = regexp.MustCompile(`(?m)^          args: (\[.*\])$`)

// The Kubernetes manifest's arguments migrate, but for the folder, which is in the image.
func TestManifest(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../BEHAVIOR.md")
	if err != nil {
		t.Fatal(err)
	}
	match := manifestArgs.FindSubmatch(readme)
	if match == nil {
		t.Fatal("BEHAVIOR.md has no manifest with args")
	}
	var args []string
	if err := json.Unmarshal(match[1], &args); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/1_a.sql", []byte("create table a (id int);"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, arg := range args {
		args[i] = strings.ReplaceAll(arg, "/migrations", dir)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = []string{
		asCommand + "=1", manifestVariable(t, readme) + "=" + pgserver.Database(t), "GORACE=atexit_sleep_ms=0",
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("version 1 of 1")) {
		t.Errorf("%v: %s", err, out)
	}
}

func manifestVariable(t *testing.T, readme []byte) string {
	t.Helper()
	match := regexp.MustCompile(`(?m)^            - name: (\w+)`).FindSubmatch(readme)
	if match == nil {
		t.Fatal("BEHAVIOR.md has no manifest with env")
	}
	return string(match[1])
}
