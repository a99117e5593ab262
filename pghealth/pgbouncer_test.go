package pghealth_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// Behind PgBouncer other clients reuse the server connection of the probe's session. The probe
// leaves neither its name nor its limit there.
func TestPgBouncerKeepsNothingOfTheProbe(t *testing.T) {
	t.Parallel()
	direct := pgserver.Database(t)
	bouncer := fault.NewPgBouncer(t, direct, map[string]string{"default_pool_size": "1"}) // so that all meet on one
	pool := newPool(t, bouncer.URL(), func(cfg *pgxpool.Config) { cfg.MaxConns = 1 })
	probe, _ := newProbe(t, pool, pghealth.Options{})
	for range 3 {
		wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
	}
	other := connect(t, bouncer.URL())
	var name, limit string
	if err := other.QueryRow(t.Context(),
		"select current_setting('application_name'), current_setting('statement_timeout')").Scan(&name,
		&limit); err != nil {
		t.Fatal(err)
	}
	if name != "" || limit != "0" {
		t.Errorf("another client's session is named %q with the limit %s", name, limit)
	}

	// A direct connection has both, after the service's own name.
	own := newPool(t, direct, func(cfg *pgxpool.Config) {
		cfg.ConnConfig.RuntimeParams["application_name"] = strings.Repeat("h", 60)
	})
	probe, _ = newProbe(t, own, pghealth.Options{Timeout: 5 * time.Second, Schema: pghealth.SchemaFunc(
		func(ctx context.Context, conn *pgx.Conn) (current, needed int64, dirty bool, err error) {
			return 1, 1, false, conn.QueryRow(ctx, "show statement_timeout").Scan(&limit)
		},
	)})
	wantCode(t, get(t, own, probe.Ready()), http.StatusOK)
	err := connect(t, direct).QueryRow(t.Context(), `select application_name from pg_stat_activity
		where datname = current_database() and application_name like '%/pghealth'`).Scan(&name)
	if err != nil || name != strings.Repeat("h", 54)+"/pghealth" || limit != "2500ms" {
		t.Errorf("%q with the limit %s, %v", name, limit, err)
	}
}
