package replica_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/replica"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// Other engines lack the functions for positions. Token then returns ErrUnsupported, such a replica
// is not used, and reads go to the primary.
func TestServersWithoutPositions(t *testing.T) {
	t.Parallel()
	p := fault.NewServer(t, fault.ServerOptions{})
	a := p.Standby(t, nil)
	c := open(t, config(t, p.URL(), []string{a.URL()}))
	used(t, c, a.SocketDir())
	const allow = `set allow_system_table_mods = on`
	check := func(what, function string, err error) {
		if !errors.Is(err, replica.ErrUnsupported) || pgerr.Of(err) != pgerr.Config ||
			!strings.Contains(err.Error(), function) {
			t.Errorf("%s: error is %v of category %s, want ErrUnsupported with the function", what, err, pgerr.Of(err))
		}
	}

	p.Exec(t, allow+`; alter function pg_catalog.pg_current_wal_insert_lsn() rename to gone_1`)
	token, err := c.Token(t.Context())
	check("token", "pg_current_wal_insert_lsn", err)
	if !token.IsZero() {
		t.Errorf("token is %s, want none", token)
	}

	p.Exec(t, allow+`; alter function pg_catalog.pg_last_wal_replay_lsn() rename to gone_2`)
	used(t, c)
	check("replica", "pg_last_wal_replay_lsn", c.Replicas()[0].Err)
	if c.Reader(t.Context()) != c.Primary() {
		t.Error("the reader is not the primary")
	}

	// It does not say which cluster it belongs to either. Reading from the primary still works.
	p.Exec(t, allow+`; alter function pg_catalog.pg_control_system() rename to gone_3`)
	var log logs
	c = open(t, config(t, p.URL(), []string{a.URL()}), pgpool.WithLogger(log.Logger()))
	if !strings.Contains(log.String(), "the primary does not say which cluster it is") {
		t.Errorf("log is %s, want a warning", &log)
	}
	execute(t, c.Reader(t.Context()), `select 1`)
}

// Open fails without a primary.
func TestOpenWithoutPrimary(t *testing.T) {
	t.Parallel()
	// No socket is there.
	cfg := config(t, "postgres://app@/app?host="+t.TempDir(), nil, "DATABASE_STARTUP_TIMEOUT=100ms")
	_, err := replica.Open(t.Context(), cfg, pgpool.WithLogger(nil))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || !strings.HasPrefix(err.Error(), "open cluster: primary: connect: ") {
		t.Errorf("error is %v, want why the primary cannot be reached", err)
	}
	if _, err := replica.Open(t.Context(), pgconfig.Config{}); err == nil ||
		!strings.HasPrefix(err.Error(), "open cluster: ") {
		t.Errorf("without a configuration: %v", err)
	}
}
