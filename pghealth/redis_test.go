package pghealth_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alexliesenfeld/health"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// In the example's application its own check fails, then the database's. Neither hides the other.
func TestCheckerWithRedis(t *testing.T) {
	t.Parallel()
	var loading atomic.Bool
	l, _ := listen(t)
	go serve(l, func(c net.Conn) {
		defer c.Close()
		if line, _ := bufio.NewReader(c).ReadString('\n'); line != "PING\r\n" {
			return
		}
		answer := "+PONG\r\n"
		if loading.Load() {
			answer = "-LOADING select a secret\r\n"
		}
		_, _ = io.WriteString(c, answer)
	})
	url := pgserver.Database(t)
	proxy := fault.NewProxy(t, url, fault.Options{})
	pool := newPool(t, url, dialProxy(proxy))
	probe, log := newProbe(t, pool, pghealth.Options{Timeout: faultTimeout})
	c := health.NewChecker(
		health.WithChecks(probe.Checks()...),
		health.WithCheck(health.Check{Name: "redis", Check: pingRedis(l.Addr().String())}),
		health.WithDisabledCache(), health.WithDisabledAutostart(),
	)
	h := handler(probe, c)
	status := func(code int, redis, db string) {
		t.Helper()
		r := wantEventually(t, pool, h, code)
		if r.check(t, "redis").Status != redis || r.check(t, "db:connectivity").Status != db {
			t.Errorf("redis should %s and the database %s: %s", redis, db, r.body)
		}
	}
	status(http.StatusOK, "pass", "pass")
	loading.Store(true)
	status(http.StatusServiceUnavailable, "fail", "pass")
	if !strings.Contains(log.String(), "LOADING") {
		t.Errorf("log: %s", log)
	}
	loading.Store(false)
	status(http.StatusOK, "pass", "pass")
	proxy.Freeze(fault.Both)
	status(http.StatusServiceUnavailable, "pass", "fail")
	proxy.Heal()
	status(http.StatusOK, "pass", "pass")
}
