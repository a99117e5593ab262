package main

import (
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// If the connection breaks during the checks, the database counts as not reached. The results so
// far are printed.
func TestConnectionThatBreaks(t *testing.T) {
	t.Parallel()
	const said = "ok connection 127.0.0.1:"
	for name, tt := range map[string]struct {
		cut  string
		want []string
	}{
		"at the first question":         {"pg_backend_pid", []string{said}},
		"in front of the settings":      {"'idle_in_transaction", []string{said, "ok version PostgreSQL", "ok role primary"}},
		"in the middle of the settings": {"'lock_timeout'", []string{said, "ok role primary"}},
		"where a setting is written":    {"set_config", []string{said, "ok role primary"}},
		"in front of the last question": {
			"clock_timestamp", []string{said, "ok settings 3 settings in effect", "ok connections"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := pgserver.Database(t)
			p := fault.NewProxy(t, database, fault.Options{})
			p.OnRequest(func(r fault.Request) fault.Cut {
				if strings.Contains(r.SQL, tt.cut) {
					return fault.BeforeRequest
				}
				return fault.Pass
			})
			code, output := examine(t, map[string]string{"DATABASE_URL": p.URL()})
			if code != notReached {
				t.Errorf("code %d, want %d", code, notReached)
			}
			contains(t, output,
				append(tt.want, "FAIL answer connect: ", "check host, port and firewall", "1 problem,")...)
		})
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	database := pgserver.Database(t)
	certificate := fault.NewCertificate(t, time.Now().Add(time.Hour))
	p := fault.NewProxy(t, database, fault.Options{TLS: certificate.Server()})
	root := "&sslrootcert=" + certificate.File
	for name, tt := range map[string]struct {
		query string
		code  int
		want  string
	}{
		"not verified": {
			"sslmode=require", fine, "warn TLS TLS 1.3, but the server is not verified: sslmode=verify-full does",
		},
		"verified":              {"sslmode=verify-full" + root, fine, "ok TLS TLS 1.3, the server is verified"},
		"verified by authority": {"sslmode=verify-ca" + root, fine, "ok TLS TLS 1.3, the server is verified"},
		"another's certificate": {"sslmode=verify-full", notReached, "check sslmode and sslrootcert"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := strings.Replace(p.URL(), "sslmode=require", tt.query, 1)
			code, output := examine(t, map[string]string{"DATABASE_URL": url})
			if code != tt.code {
				t.Errorf("code %d, want %d", code, tt.code)
			}
			contains(t, output, tt.want)
		})
	}
}
