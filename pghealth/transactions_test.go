package pghealth_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

func TestTransactions(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	pool := newPool(t, url)
	const limit = 200 * time.Millisecond
	old, log := newProbe(t, pool, pghealth.Options{Timeout: faultTimeout, WarnTransactionAge: limit, WarnIdleInTransaction: -1})
	idle, _ := newProbe(t, pool, pghealth.Options{Timeout: faultTimeout, WarnTransactionAge: -1, WarnIdleInTransaction: limit})
	usual, _ := newProbe(t, pool, pghealth.Options{Timeout: faultTimeout})
	everyOld, everyIdle, everyUsual := serveBoth(t, pool, old), serveBoth(t, pool, idle), serveBoth(t, pool, usual)
	everyOld.want(want{http.StatusOK, "transactions", "pass", "", ""})

	conn := connect(t, url)
	execute(t, conn, "begin")
	everyOld.want(want{http.StatusOK, "transactions", "warn", "", "a transaction is open for too long"})
	everyIdle.want(want{http.StatusOK, "transactions", "warn", "", "a session is idle in its transaction for too long"})
	everyUsual.want(want{http.StatusOK, "transactions", "pass", "", ""})
	c := everyOld.get("/ready").check(t, "db:transactions")
	if *c.ObservedValue < limit.Seconds() || *c.ObservedValue > 60 || c.ObservedUnit != "s" || c.Figures["open"] != 1 || c.Figures["hidden"] != 0 {
		t.Errorf("%v %v", *c.ObservedValue, c.Figures)
	}

	// At work it is not idle, and still old.
	done := make(chan error)
	go func() {
		_, err := conn.Exec(t.Context(), "select pg_sleep(1)")
		done <- err
	}()
	everyIdle.want(want{http.StatusOK, "transactions", "pass", "", ""})
	everyOld.want(want{http.StatusOK, "transactions", "warn", "", "a transaction is open for too long"})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	execute(t, conn, "rollback")
	everyOld.want(want{http.StatusOK, "transactions", "pass", "", ""})
	if lines := log.lines(); len(lines) != 2 {
		t.Errorf("%d records for a warning and its end: %s", len(lines), log)
	}
}
