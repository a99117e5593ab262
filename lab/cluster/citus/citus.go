// Package citus runs a ledger on a Citus coordinator and two workers on this machine. It breaks
// COMMITs, kills a worker, and judges what the clients were told. PostgreSQL must have the
// extension; this repository does not contain it.
package citus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/lab/cluster/chaos"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// ErrMissing says that PostgreSQL on this machine lacks the extension.
var ErrMissing = errors.New("this PostgreSQL does not have the extension citus, and Debian does not package it: " +
	"install it from https://docs.citusdata.com/en/stable/installation/multi_node.html, " +
	"or name the programs of a PostgreSQL that has it with PGTEST_BINDIR; " +
	"-plain runs the same ledger on one server without it")

// Options configures Run.
type Options struct {
	// Plain runs the ledger on one server without Citus, for comparison. The worker that is killed
	// then has no data.
	Plain bool
	// Transfers is the number of transfers. Defaults to 600.
	Transfers int
	// Out receives a line for each step.
	Out io.Writer
}

// Run starts the servers, runs the ledger, judges it and stops the servers. It blocks until then or
// until ctx ends. The error is [ErrMissing] if the extension is not installed, or names the broken
// invariants.
func Run(ctx context.Context, o Options) (verdict chaos.Verdict, err error) {
	if o.Transfers == 0 {
		o.Transfers = 600
	}
	t := &owner{ctx: ctx}
	defer func() { // the fault kit stops its servers in a cleanup, and reports errors by ending the call
		if failed, ok := recover().(failure); ok {
			err = failed
		}
		t.cleanUp()
	}()
	var coordinator *fault.Server
	var workers [2]*fault.Server
	if o.Plain {
		coordinator = fault.NewServer(t, fault.ServerOptions{TCP: true})
		workers[0] = fault.NewServer(t, fault.ServerOptions{TCP: true})
	} else if coordinator, workers, err = Start(t); err != nil {
		return verdict, err
	}
	l := &ledger{Options: o, coordinator: coordinator, worker: workers[0]}
	if verdict, err = l.run(t); err != nil {
		return verdict, err
	}
	if broken := verdict.Broken(); len(broken) > 0 {
		return verdict, fmt.Errorf("the ledger does not hold: %v", broken)
	}
	return verdict, nil
}

// Start starts a coordinator and its two workers. The servers end with the test. The error is
// [ErrMissing] if the extension is not installed.
func Start(t fault.TB) (coordinator *fault.Server, workers [2]*fault.Server, err error) {
	if err := checkExtension(t); err != nil {
		return nil, workers, err
	}
	newServer := func() *fault.Server {
		s := fault.NewServer(t, fault.ServerOptions{TCP: true})
		s.Configure(t, map[string]string{
			"shared_preload_libraries": "citus", "max_prepared_transactions": "100",
			"citus.node_conninfo": "sslmode=disable",
		})
		// The nodes connect to each other by TCP, on loopback only.
		s.Write(t, "pg_hba.conf", "local all all trust\nhost all all 127.0.0.1/32 trust\n")
		s.Restart(t)
		s.Exec(t, `create extension citus`)
		return s
	}
	coordinator = newServer()
	for i := range workers {
		workers[i] = newServer()
	}
	coordinator.Exec(t, fmt.Sprintf(`select citus_set_coordinator_host('127.0.0.1', %s)`, port(t, coordinator)))
	for _, w := range workers {
		coordinator.Exec(t, fmt.Sprintf(`select citus_add_node('127.0.0.1', %s)`, port(t, w)))
	}
	return coordinator, workers, nil
}

// checkExtension asks a separate server, because a server that preloads a missing library does not
// start.
func checkExtension(t fault.TB) error {
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, fault.NewServer(t, fault.ServerOptions{}).URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var there bool
	err = conn.QueryRow(ctx, `select exists (select from pg_available_extensions where name = 'citus')`).Scan(&there)
	if err == nil && !there {
		err = ErrMissing
	}
	return err
}

func port(t fault.TB, s *fault.Server) string {
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatalf("the server's URL does not parse")
	}
	return u.Port()
}

// owner takes the place of a test in the fault kit: it stops the servers, and a failure ends Run.
type owner struct {
	ctx      context.Context
	cleanups []func()
}

type failure struct{ error }

func (*owner) Helper()                    {}
func (*owner) Name() string               { return "citus" }
func (o *owner) Context() context.Context { return o.ctx }
func (o *owner) Cleanup(fn func())        { o.cleanups = append(o.cleanups, fn) }

func (*owner) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }
func (*owner) Errorf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }
func (*owner) Skipf(format string, args ...any)  { panic(failure{fmt.Errorf(format, args...)}) }

func (o *owner) cleanUp() {
	for _, fn := range o.cleanups {
		defer fn()
	}
}
