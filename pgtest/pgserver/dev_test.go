package pgserver_test

import (
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

func TestDevKeepsItsData(t *testing.T) {
	t.Parallel()
	dev := pgserver.Dev{Name: "keep", Dir: shortTempDir(t)}
	if _, err := dev.URL(); !errors.Is(err, pgserver.ErrNotRunning) {
		t.Fatalf("before the start: %v", err)
	}
	if err := dev.Stop(t.Context()); err != nil {
		t.Fatalf("stopping what does not run: %v", err)
	}
	started, err := dev.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := query(t, started, "show fsync"); got != "on" {
		t.Errorf("fsync = %s on a server that keeps data", got)
	}
	again, err := dev.Start(t.Context())
	if err != nil || again != started {
		t.Errorf("second start: %s, %v", again, err)
	}
	execute(t, started, "create table kept as select 'still here' as v")
	if err := dev.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := dev.URL(); !errors.Is(err, pgserver.ErrNotRunning) {
		t.Errorf("after the stop: %v", err)
	}
	if started, err = dev.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query(t, started, "select v from kept"); got != "still here" {
		t.Error(got)
	}
	if err := dev.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDevPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().(*net.TCPAddr).Port
	l.Close()
	dev := pgserver.Dev{Dir: shortTempDir(t), Port: free}
	raw, err := dev.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := dev.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if got := query(t, raw, "select host(inet_server_addr())"); got != "127.0.0.1" {
		t.Errorf("connected to %s", got)
	}
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	if len(password) < 20 {
		t.Error("the password is short")
	}
	u.User = url.UserPassword("postgres", "wrong")
	if err := connectError(t, u.String()); err == nil || !strings.Contains(err.Error(), "28P01") {
		t.Errorf("a wrong password: %v", err)
	}
	for _, p := range processes(t, "postgres") {
		if strings.Contains(p, password) {
			t.Error("the password is in the process list")
		}
	}
}
