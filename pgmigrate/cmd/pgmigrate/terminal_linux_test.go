package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// onTerminal runs the command with a terminal as its stdout.
func onTerminal(t *testing.T, env []string, args ...string) string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here")
	}
	defer master.Close()
	var number uint32
	var unlock int32
	for request, arg := range map[uintptr]unsafe.Pointer{
		syscall.TIOCGPTN: unsafe.Pointer(&number), syscall.TIOCSPTLCK: unsafe.Pointer(&unlock),
	} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), request, uintptr(arg)); errno != 0 {
			t.Fatal(errno)
		}
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd := exec.Command(self, args...)
	cmd.Env = append([]string{
		asCommand + "=1", "GORACE=atexit_sleep_ms=0", "GOCOVERDIR=" + os.Getenv("GOCOVERDIR"),
	}, env...)
	cmd.Stdout, cmd.Stderr = terminal, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	terminal.Close()
	out, _ := io.ReadAll(master) // a closed terminal reads as an I/O error
	if stderr.Len() > 0 {
		t.Errorf("stderr: %s", stderr.String())
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// On a terminal the command draws a line a migration, and logs nothing. status has a header there,
// and colors unless NO_COLOR is set.
func TestTerminal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, sql := range map[string]string{
		"1_a.sql": "create table a (id int);", "2_b.sql": "select 1;", "../repeatable/v.sql": "select 1;",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, "migrations", name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "migrations", name), []byte(sql), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	migrations := filepath.Join(dir, "migrations")
	database := "DATABASE_URL=" + pgserver.Database(t)
	out := onTerminal(t, []string{database}, "up", "--dir", migrations)
	for _, want := range []string{
		"\rup   1_a.sql ...\rup   1_a.sql:1 ...\rup   1_a.sql ... ", "up   repeatable/v.sql ... ",
		"version 2 of 2: 2 migrations and 1 repeatable",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	if err := os.WriteFile(filepath.Join(migrations, "2_b.sql"), []byte("select 2;"), 0o644); err != nil {
		t.Fatal(err)
	}
	for noColor, want := range map[string][]string{
		"": {
			"VERSION  \x1b[39mSTATE\x1b[0m    FILE ", "\n1        \x1b[32mapplied\x1b[0m  1_a.sql ",
			"\n2        \x1b[31medited\x1b[0m   2_b.sql ", "\n-        \x1b[32mapplied\x1b[0m  repeatable/v.sql",
			"version 2 of 2, 0 pending, 1 edited",
		},
		"1": {"VERSION  STATE    FILE ", "\n1        applied  1_a.sql ", "\n2        edited   2_b.sql "},
	} {
		out := onTerminal(t, []string{database, "NO_COLOR=" + noColor}, "status", "--dir", migrations)
		for _, want := range want {
			if !strings.Contains(out, want) {
				t.Errorf("NO_COLOR=%s: no %q in %q", noColor, want, out)
			}
		}
	}
}
