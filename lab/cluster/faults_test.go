package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/lab/cluster"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// Another node takes over from a killed or frozen primary, which comes back as a standby.
func TestFaultsOfThePrimary(t *testing.T) {
	long(t)
	c := start(t)
	for _, fault := range []struct {
		name string
		do   func(*cluster.Node) error
		undo func(*cluster.Node) error
	}{
		{"kill", (*cluster.Node).Kill, func(n *cluster.Node) error { return n.Restart(limited(t)) }},
		{"freeze", (*cluster.Node).Freeze, (*cluster.Node).Thaw},
		{"partition", (*cluster.Node).Partition, (*cluster.Node).Heal},
	} {
		t.Run(fault.name, func(t *testing.T) {
			ctx := limited(t)
			old, err := c.Primary(ctx)
			if err != nil {
				t.Fatal(err)
			}
			err = fault.do(old)
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := reach(t.Context(), old.URL); err == nil {
				t.Error("a client reaches it")
			}
			eventually(t, func() error {
				now, err := c.Primary(ctx)
				if err == nil && now == old {
					err = fmt.Errorf("%s is the primary", now)
				}
				return err
			})
			if err := fault.undo(old); err != nil {
				t.Fatal(err)
			}
			if err := c.Ready(ctx); err != nil {
				t.Fatal(err)
			}
			if now, err := c.Primary(ctx); err != nil || now == old {
				t.Errorf("the primary is %v, %v", now, err)
			}
		})
	}
}

// Reinit copies the primary to a standby that cannot come back on its own.
func TestReinit(t *testing.T) {
	long(t)
	c := start(t)
	ctx := limited(t)
	standby, err := c.SyncStandby(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := standby.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(c.Dir(), standby.Name, "data", "global", "pg_control")); err != nil {
		t.Fatal(err)
	}
	if err := standby.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if c.Ready(short) == nil {
		t.Fatal("it came back by itself")
	}
	eventually(t, func() error { return c.Reinit(ctx) })
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// A standby whose log is ahead of the primary's can rejoin. Patroni rewinds it. If Patroni does not
// notice, Reinit copies the primary.
func TestMoreLogThanThePrimary(t *testing.T) {
	long(t)
	c := start(t)
	ctx := limited(t)
	standby, err := c.SyncStandby(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := standby.Kill(); err != nil {
		t.Fatal(err)
	}
	writeMoreLog(t, filepath.Join(c.Dir(), standby.Name, "data"))
	if err := standby.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := c.Ready(short); err != nil {
		t.Log(err)
		eventually(t, func() error { return c.Reinit(ctx) })
	}
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// writeMoreLog writes 8 MB to the log of a killed standby, on its own timeline, and replays them
// there.
func writeMoreLog(t *testing.T, data string) {
	t.Helper()
	owner, err := pgserver.FindOwner()
	if err != nil {
		t.Fatal(err)
	}
	binaries, err := pgserver.Binaries(t.Context(), pgserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	run := func(input, program string, args ...string) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(binaries, program), append(args, "-D", data)...)
		cmd.Dir, cmd.SysProcAttr, cmd.Stdin = data, owner.Attr(), strings.NewReader(input)
		if out, err := cmd.CombinedOutput(); err != nil {
			log, _ := os.ReadFile(filepath.Join(filepath.Dir(data), "alone.log"))
			t.Fatalf("%s: %v\n%s%s", program, err, out, log)
		}
	}
	standby := filepath.Join(data, "standby.signal")
	if err := errors.Join(os.Remove(filepath.Join(data, "postmaster.pid")),
		os.Rename(standby, standby+".away")); err != nil {
		t.Fatal(err)
	}
	run("select pg_logical_emit_message(false, 'more', repeat('x', 8000000))\n", "postgres", "--single", "app")
	if err := os.Rename(standby+".away", standby); err != nil {
		t.Fatal(err)
	}
	run("", "pg_ctl", "start", "-w", "-l", filepath.Join(filepath.Dir(data), "alone.log"), "-o",
		"-c primary_conninfo='' -c unix_socket_directories='' -c max_connections=200") // the primary has as many
	run("", "pg_ctl", "stop", "-w", "-m", "fast")
}

func TestKillPostgres(t *testing.T) {
	c := start(t)
	ctx := limited(t)
	standby, err := c.SyncStandby(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := standby.KillPostgres(); err != nil {
		t.Fatal(err)
	}
	if err := reach(ctx, standby.URL); err == nil {
		t.Log("it was back at once")
	}
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestRestartsAround(t *testing.T) {
	c := start(t)
	ctx := limited(t)
	if err := errors.Join(c.StopEtcd(), c.StartEtcd(ctx), c.RestartHAProxy(ctx), c.RestartPgBouncer(ctx),
		c.Ready(ctx)); err != nil {
		t.Fatal(err)
	}
}

// reach connects and runs a query.
func reach(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return conn.Ping(ctx)
}
