package schema_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/dev/schema"
)

// What cannot be read is an error, not a difference, and no password is in it.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	db := database(t, `create table hunter2 (i int);
		do $$ begin create role schema_test_stranger login; exception when duplicate_object then null; end $$;`)
	missing := db.Config.Copy()
	missing.Database, missing.Password = "no_such_database", "hunter2"
	stranger := db.Config.Copy() // a server's message may quote what happens to be the password, too
	stranger.User, stranger.Password = "schema_test_stranger", "hunter2"
	tests := map[string]struct {
		from, to *pgx.ConnConfig
		opts     schema.Options
		want     string
	}{
		"no such database": {
			missing, db.Config, schema.Options{}, `database "no_such_database" does not exist`,
		},
		"no such other database": {
			db.Config, missing, schema.Options{}, `database "no_such_database" does not exist`,
		},
		"a table that is not ours": {
			stranger, db.Config,
			schema.Options{},
			"pg_dump failed; its role needs the right to read every table: ",
		},
		"the other one's is not": {db.Config, stranger, schema.Options{}, "permission denied for table ***"},
	}
	for name, test := range tests {
		d, err := schema.Compare(t.Context(), schema.Database{Config: test.from},
			schema.Database{Config: test.to}, test.opts)
		if test.want == "" {
			if err != nil || !d.Empty() {
				t.Errorf("%s: %+v, %v", name, d, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A migration holds its lock for long: who reads can be called off, and gets the reason.
func TestCalledOff(t *testing.T) {
	t.Parallel()
	db := database(t, "create table t (i int)")
	holder, err := pgx.ConnectConfig(t.Context(), db.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close(context.Background())
	if _, err := holder.Exec(t.Context(), "begin; lock table t"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	enough := errors.New("enough")
	go func() {
		for waiting := false; !waiting && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) { // polls
			if holder.QueryRow(ctx,
				"select exists (select from pg_locks where not granted and relation = "+
					"'t'::regclass)").Scan(&waiting) != nil {
				return
			}
		}
		cancel(enough)
	}()
	_, err = schema.Read(ctx, db, schema.Options{})
	if !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
}

// pg_dump goes where pgx goes: to the first of several addresses that answers.
func TestSeveralAddresses(t *testing.T) {
	t.Parallel()
	db := database(t, "create table t (i int)")
	several, err := pgx.ParseConfig("host=" + t.TempDir() + "," + db.Config.Host +
		" port=5432,5432 user=" + db.Config.User +
		" dbname='" + db.Config.Database + `' connect_timeout=5 sslmode=disable target_session_attrs=read\-write`)
	if err != nil {
		t.Fatal("parse the address")
	}
	var text strings.Builder
	if err := schema.Pull(t.Context(), &text, several, schema.Options{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "CREATE TABLE public.t") {
		t.Errorf("pulled:\n%s", text.String())
	}
}
