package pgpool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func TestCertificate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		until time.Time
		ok    bool
	}{
		"valid":   {time.Now().Add(time.Hour), true},
		"expired": {time.Now().Add(-time.Hour), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := database(t)
			certificate := fault.NewCertificate(t, tt.until)
			through(t, config, fault.Options{TLS: certificate.Server()})
			config.ConnConfig.Host = "127.0.0.1" // a socket has no TLS
			config.ConnConfig.TLSConfig = certificate.Client()
			pool, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(nil))
			if tt.ok {
				if err != nil {
					t.Fatal(err)
				}
				defer pool.Close()
				nothingIsLeft(t, pool)
				return
			}
			var failed *pgpool.StartupError
			if !errors.As(err, &failed) || failed.Attempts != 1 || pgerr.Of(err) != pgerr.TLS ||
				!strings.Contains(err.Error(), "check sslmode and sslrootcert") {
				t.Errorf("error is %v, want tls after one attempt, and what to do", err)
			}
		})
	}
}

func TestNameThatDoesNotResolve(t *testing.T) {
	t.Parallel()
	config := parse(t, "postgres://app@pgpool.invalid/app?sslmode=disable")
	_, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(nil),
		pgpool.WithStartupTimeout(300*time.Millisecond))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || pgerr.Of(err) != pgerr.DNS || !errors.Is(failed.Ended, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "check the host name") {
		t.Errorf("error is %v, want dns, tried until the budget ended, and what to do", err)
	}
}
