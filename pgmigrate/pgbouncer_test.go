package pgmigrate_test

import (
	"errors"
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// Session locks do not work through PgBouncer in transaction mode, so it has to be recognized.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	for name, ignored := range map[string]string{
		"refuses the settings": "",
		"ignores the settings": "lock_timeout, statement_timeout, " +
			"client_connection_check_interval, default_transaction_read_only",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			bouncer := fault.NewPgBouncer(t, b.config.ConnString(),
				map[string]string{"ignore_startup_parameters": ignored})
			m, err := pgmigrate.New(parse(t, bouncer.URL()), three())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Up(t.Context()); !errors.Is(err, pgmigrate.ErrPooled) {
				t.Errorf("up: %v", err)
			}
			if ask[bool](t, b, "select to_regclass('public.schema_version') is not null") {
				t.Error("a refused run has changed the database")
			}
		})
	}
}
