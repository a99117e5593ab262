package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// On a terminal the command draws a line a migration, and logs nothing.
func TestTerminal(t *testing.T) {
	t.Parallel()
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
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/1_a.sql", []byte("create table a (id int);"), 0o644); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd := exec.Command(self, "up", "--dir", dir)
	cmd.Env = []string{
		asCommand + "=1", "DATABASE_URL=" + pgserver.Database(t), "GORACE=atexit_sleep_ms=0",
		"GOCOVERDIR=" + os.Getenv("GOCOVERDIR"),
	}
	cmd.Stdout, cmd.Stderr = terminal, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	terminal.Close()
	out, _ := io.ReadAll(master) // a closed terminal reads as an I/O error
	if got := string(out); !strings.Contains(got, "\rup   1_a.sql ...\rup   1_a.sql:1 ...\rup   1_a.sql ... ") ||
		!strings.Contains(got, "version 1 of 1: 1 migration") {
		t.Errorf("got %q", got)
	}
	if stderr.Len() > 0 {
		t.Errorf("stderr: %s", stderr.String())
	}
}
