package shadow_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// An error that a shadow has and the live database does not comes with a remedy. Errors with the
// same SQLSTATE and another cause come without one.
func TestHints(t *testing.T) {
	t.Parallel()
	const aboutExtensions = "--shadow-url"
	tests := map[string]struct {
		opts   shadow.Options
		want   []string
		absent string
	}{
		"0A000 of a view": {
			shadow.Options{Migrations: folder("001_a.sql",
				"create table t (i int); create view v as select i from t; alter table t alter i type bigint")},
			[]string{"cannot alter type of a column used by a view"},
			aboutExtensions,
		},
		"58P01 of a library": {
			shadow.Options{Migrations: folder("001_a.sql", "load 'no_such_library'")},
			[]string{"no_such_library"},
			aboutExtensions,
		},
		"42704 of a type": {
			shadow.Options{Migrations: folder("001_a.sql", "create table t (i no_such_type)")},
			[]string{`type "no_such_type" does not exist`},
			"role",
		},
		"42710 of a table's column": {
			shadow.Options{Migrations: folder("001_a.sql", "create table t (i int); create policy p on t; create policy p on t")},
			[]string{"already exists"},
			"roles belong",
		},
		"a role of the server's": {
			shadow.Options{Migrations: folder("001_a.sql", "create role postgres")},
			[]string{
				`role "postgres" already exists`,
				"roles belong to the server, which other databases share: create it only if it is missing",
			},
			"",
		},
		"an extension that is not installed": {
			shadow.Options{Migrations: folder("001_a.sql", "create extension no_such_extension")},
			[]string{"name a server that has it with --shadow-url or SHADOW_DATABASE_URL"},
			"",
		},
		"an extension to be created first": {
			shadow.Options{Extensions: []string{"no_such_extension"}},
			[]string{"shadow database: extension no_such_extension: "},
			"",
		},
		"a folder that is wrong": {
			shadow.Options{Migrations: folder("002_a.sql", "select 1")}, []string{"002_a.sql"}, "",
		},
		"an address that is wrong, beside a live database": {
			shadow.Options{URL: "postgres://me:hunter2@127.0.0.1:notaport/x", Live: &pgx.ConnConfig{}},
			[]string{"the shadow server's address does not parse"},
			"",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := shadow.Open(t.Context(), test.opts)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in %v", want, err)
				}
			}
			if test.absent != "" && strings.Contains(err.Error(), test.absent) {
				t.Errorf("%q in %v", test.absent, err)
			}
		})
	}
}

// roleURL is the address of the test's database for a new role that may do what is said.
func roleURL(t *testing.T, name, rights string) string {
	t.Helper()
	url := pgserver.Database(t)
	cfg := config(t, url)
	execute(t, cfg, "drop role if exists "+name, "create role "+name+" login "+rights)
	t.Cleanup(func() { execute(t, cfg, "drop role "+name) })
	return strings.Replace(url, cfg.User+"@", name+"@", 1)
}

func execute(t *testing.T, cfg *pgx.ConnConfig, statements ...string) {
	t.Helper()
	conn, err := pgx.ConnectConfig(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range statements {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func TestRoleWithoutTheRight(t *testing.T) {
	t.Parallel()
	_, err := shadow.Open(t.Context(), shadow.Options{URL: roleURL(t, "shadow_test_no_right", "")})
	if err == nil || !strings.Contains(err.Error(), "give the role the right: alter role … createdb") {
		t.Errorf("got %v", err)
	}
	open(t, shadow.Options{URL: roleURL(t, "shadow_test_with_right", "createdb")})
}

// A role that may not read the cluster's identifier is told the live database by its address alone,
// by any of several.
func TestLiveByItsAddress(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	cfg := config(t, url)
	execute(t, cfg, "revoke execute on function pg_control_system() from public",
		"drop role if exists shadow_test_live", "create role shadow_test_live login createdb")
	t.Cleanup(func() { execute(t, cfg, "drop role shadow_test_live") })
	as := strings.Replace(url, cfg.User+"@", "shadow_test_live@", 1)
	live := config(t, "host="+t.TempDir()+","+cfg.Host+" port=5432,5432 user=shadow_test_live dbname="+cfg.Database+
		" sslmode=disable")
	if _, err := shadow.Open(t.Context(), shadow.Options{URL: as, Live: live}); err == nil ||
		!strings.Contains(err.Error(), "names the live database") {
		t.Errorf("got %v", err)
	}
	open(t, shadow.Options{URL: strings.Replace(as, "/"+cfg.Database+"?", "/postgres?", 1), Live: live})
}

// A live database that does not answer is for the caller to tell; its shadow can be made.
func TestLiveIsDown(t *testing.T) {
	t.Parallel()
	live := config(t, "postgres://me:hunter2@/app?host="+t.TempDir()) // no socket is there
	open(t, shadow.Options{Live: live})
}

// A database with a session cannot be copied: Clone waits until its context ends.
func TestCloneOfOneInUse(t *testing.T) {
	t.Parallel()
	db := open(t, shadow.Options{})
	conn, err := pgx.ConnectConfig(t.Context(), db.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := db.Clone(ctx); !errors.Is(err, context.Canceled) ||
		!strings.Contains(err.Error(), db.Name()+" is in use") {
		t.Errorf("got %v", err)
	}
	conn.Close(context.Background())
	clone, err := db.Clone(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := clone.Close(); err != nil {
		t.Error(err)
	}
}

// The session that holds the lock is ended by somebody: the database goes all the same, and no
// other can be made.
func TestCloseAfterItsSessionEnded(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	db, err := shadow.Open(t.Context(), shadow.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSuffix(strings.TrimPrefix(db.Name(), "pgmigrate_shadow_"), "_1")
	execute(t, config(t, url),
		"select pg_terminate_backend(pid, 60000) from pg_stat_activity where pid <> pg_backend_pid() and query like '%"+
			key+"%'")
	if _, err := db.Empty(t.Context()); err == nil {
		t.Error("another one was made without the lock")
	}
	if _, err := db.Clone(t.Context()); err == nil {
		t.Error("a copy was made without the lock")
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if ask[bool](t, config(t, url), "select exists (select from pg_database where datname = $1)", db.Name()) {
		t.Error("the database is still there")
	}
}

// A shadow of a database with another layout of the version table.
func TestMigratorsOptions(t *testing.T) {
	t.Parallel()
	db := open(t, shadow.Options{
		Migrations: twoTables, Migrate: []pgmigrate.Option{pgmigrate.WithVersionTable("public.versions")},
	})
	if got := ask[int](t, db.Config(), "select version from versions"); got != 2 {
		t.Errorf("version %d", got)
	}
}
