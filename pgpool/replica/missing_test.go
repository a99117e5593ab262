package replica_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool/replica"
)

// Servers that lack the functions, as other engines do, say so: Token returns an error that can be told apart, a replica is not read
// from, and reads go on from the primary.
func TestServersWithoutPositions(t *testing.T) {
	t.Parallel()
	p := startPrimary(t)
	a := p.standby(t)
	c := open(t, config(t, p.url("any"), []string{a.url("any")}))
	used(t, c, a.dir)
	const allow = `set allow_system_table_mods = on`
	check := func(what, function string, err error) {
		if !errors.Is(err, replica.ErrUnsupported) || pgerr.Of(err) != pgerr.Config || !strings.Contains(err.Error(), function) {
			t.Errorf("%s: error is %v of category %s, want ErrUnsupported with the function", what, err, pgerr.Of(err))
		}
	}

	p.exec(t, allow+`; alter function pg_catalog.pg_current_wal_insert_lsn() rename to gone_1`)
	token, err := c.Token(t.Context())
	check("token", "pg_current_wal_insert_lsn", err)
	if !token.IsZero() {
		t.Errorf("token is %s, want none", token)
	}

	p.exec(t, allow+`; alter function pg_catalog.pg_last_wal_replay_lsn() rename to gone_2`)
	used(t, c)
	check("replica", "pg_last_wal_replay_lsn", c.Replicas()[0].Err)
	if c.Reader(t.Context()) != c.Primary() {
		t.Error("the reader is not the primary")
	}
}
