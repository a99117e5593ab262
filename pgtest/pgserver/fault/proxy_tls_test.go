package fault_test

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// The proxy answers for itself what is asked before the start of a session.
func TestTLS(t *testing.T) {
	t.Parallel()
	certificate := fault.NewCertificate(t, time.Now().Add(time.Hour))
	secured, verified := fault.Options{TLS: certificate.Server()}, "verify-full&sslrootcert="+certificate.File
	for name, tt := range map[string]struct {
		opts    fault.Options
		mode    string
		wantTLS bool
		wantErr string
	}{
		"not offered, not wanted":     {mode: "disable"},
		"not offered, preferred":      {mode: "prefer"},
		"not offered, required":       {mode: "require", wantErr: "server refused TLS connection"},
		"offered, not wanted":         {opts: secured, mode: "disable"},
		"offered, required":           {opts: secured, mode: "require", wantTLS: true},
		"offered, verified":           {opts: secured, mode: verified, wantTLS: true},
		"offered, not the right root": {opts: secured, mode: "verify-full", wantErr: "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, p := through(t, tt.opts)
			base, _, _ := strings.Cut(p.URL(), "sslmode=")
			conn, err := tryConnect(t.Context(), base+"sslmode="+tt.mode)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error is %v, want %s", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			execute(t, conn, "select 1")
			if _, ok := conn.PgConn().Conn().(*tls.Conn); ok != tt.wantTLS {
				t.Errorf("TLS is %v, want %v", ok, tt.wantTLS)
			}
		})
	}
}

func TestExpiredCertificate(t *testing.T) {
	t.Parallel()
	certificate := fault.NewCertificate(t, time.Now().Add(-time.Hour))
	_, p := through(t, fault.Options{TLS: certificate.Server()})
	_, err := tryConnect(t.Context(), p.URL(), func(cfg *pgx.ConnConfig) {
		cfg.TLSConfig = certificate.Client()
	})
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("error is %v, want an expired certificate", err)
	}
}

// A proxy uses TLS to the server if the server's connection string says so; a raw one leaves it to
// the client.
func TestTLSToServer(t *testing.T) {
	t.Parallel()
	certificate := fault.NewCertificate(t, time.Now().Add(time.Hour))
	_, server := through(t, fault.Options{TLS: certificate.Server()})
	for name, opts := range map[string]fault.Options{"plain to the client": {}, "raw": {Raw: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := fault.NewProxy(t, server.URL(), opts)
			conn := connect(t, p.URL())
			execute(t, conn, "select 1")
			if _, ok := conn.PgConn().Conn().(*tls.Conn); ok != opts.Raw {
				t.Errorf("the client's TLS is %v, want %v", ok, opts.Raw)
			}
			p.Freeze(fault.FromServer)
			answered := make(chan error, 1)
			go func() { answered <- conn.Ping(context.Background()) }()
			silent(t, answered)
			p.Heal()
			if err := soon(t, answered); err != nil {
				t.Error(err)
			}
		})
	}
	nobody := fault.NewProxy(t, "postgres://app@127.0.0.1:1/app?sslmode=require", fault.Options{})
	if _, err := tryConnect(t.Context(), nobody.URL()); err == nil {
		t.Error("connected to nobody")
	}
}

// Cancel requests reach the server, and are told from sessions.
func TestCancelRequest(t *testing.T) {
	t.Parallel()
	certificate := fault.NewCertificate(t, time.Now().Add(time.Hour))
	for name, opts := range map[string]fault.Options{
		"TCP": {}, "Unix socket": {Unix: true}, "TLS": {TLS: certificate.Server()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct, p := through(t, opts)
			conn, other := connect(t, p.URL()), connect(t, direct)
			answered := make(chan error, 1)
			go func() {
				_, err := conn.Exec(context.Background(), "select pg_sleep(3600)")
				answered <- err
			}()
			eventually(t, other, "select exists (select from pg_stat_activity "+
				"where datname = current_database() and wait_event = 'PgSleep')")
			if err := conn.PgConn().CancelRequest(t.Context()); err != nil {
				t.Fatal(err)
			}
			var failed *pgconn.PgError
			if err := soon(t, answered); !errors.As(err, &failed) || failed.Code != "57014" {
				t.Errorf("error is %v, want 57014", err)
			}
			if s := p.Stats(); s.Cancels != 1 || s.Connections != 2 {
				t.Errorf("%+v, want 1 cancel request of 2 connections", s)
			}
		})
	}
}
