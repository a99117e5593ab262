package option_test

import (
	"testing"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool/internal/option"
)

// TestReplica: what a replica's URL says counts for that replica.
func TestReplica(t *testing.T) {
	t.Parallel()
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: map[string]string{
		"DATABASE_URL": "postgres://u@localhost/d",
		"DATABASE_REPLICA_URLS": "postgres://u@localhost:1/d?pgbouncer=true," +
			"postgres://u@localhost:2/d?statement_timeout=5min",
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		pgBouncer bool
		statement string
	}{{true, ""}, {false, "300000"}} {
		replica := cfg.Replicas()[i]
		config, err := replica.PoolConfig()
		if err != nil {
			t.Fatal(err)
		}
		var s option.Settings
		option.FromConfig(replica, config.ConnConfig)(&s)
		statement := config.ConnConfig.RuntimeParams["statement_timeout"]
		if s.PgBouncer != want.pgBouncer || statement != want.statement ||
			config.ConnConfig.RuntimeParams["lock_timeout"] != "" {
			t.Errorf("replica %d sends %q: %+v", i, config.ConnConfig.RuntimeParams, s)
		}
	}
}
