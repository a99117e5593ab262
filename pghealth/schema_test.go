package pghealth_test

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// versionTable reads a table as migration tools keep it.
func versionTable(needed int64) pghealth.Schema {
	return pghealth.SchemaFunc(func(ctx context.Context, conn *pgx.Conn) (current, _ int64, dirty bool, err error) {
		err = conn.QueryRow(ctx, "select version, dirty from schema_version").Scan(&current, &dirty)
		return current, needed, dirty, err
	})
}

func TestSchema(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		sql      string
		code     int
		category string
		output   string
	}{
		"as needed": {sql: "create table schema_version as select 5 as version, false as dirty", code: 200},
		"ahead":     {sql: "create table schema_version as select 6 as version, false as dirty", code: 200},
		"behind": {
			sql: "create table schema_version as select 4 as version, false as dirty", code: 503,
			output: "behind",
		},
		"dirty": {
			sql: "create table schema_version as select 5 as version, true as dirty", code: 503,
			output: "half-way",
		},
		"no table": {sql: "select", code: 503, category: "statement", output: "could not be read"},
		"no row": {
			sql: "create table schema_version (version int, dirty bool)", code: 503,
			category: "not_found", output: "could not be read",
		},
		"locked by a migration": {
			sql: "create table schema_version as select 5 as version, false as dirty; " +
				"commit; begin; lock table schema_version",
			code: 503, category: "timeout", output: "in time",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgserver.Database(t)
			migration, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer migration.Close(context.WithoutCancel(t.Context()))
			if _, err := migration.PgConn().Exec(t.Context(), test.sql).ReadAll(); err != nil {
				t.Fatal(err)
			}
			pool := newPool(t, url)
			opts := pghealth.Options{Schema: versionTable(5)}
			if test.category == "timeout" {
				opts.Timeout = 500 * time.Millisecond
			}
			probe, log := newProbe(t, pool, opts)
			r := get(t, pool, probe.Ready())
			// On a busy machine the short timeout may end before the schema is asked for.
			for began := time.Now(); test.code == 503 && time.Since(began) < 20*time.Second; {
				if strings.Contains(log.String(), `"db:schema"`) {
					break
				}
				r = get(t, pool, probe.Ready())
			}
			wantCode(t, r, test.code)
			c := r.check(t, "db:schema")
			if (c.Status == "pass") != (test.code == 200) || c.Category != test.category ||
				!strings.Contains(c.Output, test.output) {
				t.Error(r.body)
			}
			if (test.code == 503) != strings.Contains(log.String(), `"cause"`) {
				t.Errorf("log: %s", log)
			}
			if test.output == "behind" {
				serveBoth(t, pool, probe).want(want{503, "schema", "fail", "", "the schema is behind this binary"})
			}
			if started := get(t, pool, probe.Startup()); started.code != test.code {
				t.Errorf("startup: %s", started.body)
			}
			if c.Category == "" && (c.ObservedValue == nil || c.Figures["needed"] != 5) {
				t.Error(r.body)
			}
		})
	}
}

// A fake that ends its goroutine, as t.FailNow does, must not disable its check forever.
func TestSchemaThatExits(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	exited := false
	probe, _ := newProbe(t, pool, pghealth.Options{
		Schema: pghealth.SchemaFunc(func(context.Context, *pgx.Conn) (int64, int64, bool, error) {
			if !exited {
				exited = true
				runtime.Goexit()
			}
			return 1, 1, false, nil
		}),
	})
	r := get(t, pool, probe.Ready())
	wantCode(t, r, http.StatusServiceUnavailable)
	if c := r.check(t, "db:schema"); c.Output != "the check did not return" {
		t.Error(r.body)
	}
	wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
}

func TestNoSchemaNoCheck(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{})
	if r := get(t, pool, probe.Ready()); len(r.Checks) != 3 {
		t.Error(r.body)
	}
	if n := len(probe.Checks()); n != 3 {
		t.Errorf("%d checks", n)
	}
}

// Whatever a Schema does to the connection, its next user finds it clean.
func TestMessySchema(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fn   pghealth.SchemaFunc
		code int
	}{
		"panics": {
			func(context.Context, *pgx.Conn) (_, _ int64, _ bool, _ error) { panic("SQLSTATE of a secret") },
			503,
		},
		"leaves a failed transaction": {func(ctx context.Context, conn *pgx.Conn) (_, _ int64, _ bool, err error) {
			_, err = conn.Exec(ctx, "begin")
			_, _ = conn.Exec(ctx, "select 1/0")
			return 0, 0, false, err
		}, 200},
		"leaves rows unread": {func(ctx context.Context, conn *pgx.Conn) (_, _ int64, _ bool, err error) {
			_, err = conn.Query(ctx, "select generate_series(1, 100000)")
			return 0, 0, false, err
		}, 200},
		"closes the connection": {func(ctx context.Context, conn *pgx.Conn) (_, _ int64, _ bool, err error) {
			return 0, 0, false, conn.Close(ctx)
		}, 200},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := newPool(t, pgserver.Database(t))
			probe, _ := newProbe(t, pool, pghealth.Options{Schema: test.fn})
			for range 3 {
				r := get(t, pool, probe.Ready())
				wantCode(t, r, test.code)
				if c := r.check(t, "db:connectivity"); c.Status != "pass" {
					t.Error(r.body)
				}
			}
		})
	}
}

// Three statements, each short enough for the server, leave time for the other check.
func TestSlowSchemaLeavesTimeForConnectivity(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	var calls atomic.Int32
	probe, _ := newProbe(t, pool, pghealth.Options{
		Timeout: 3 * time.Second, // long against a question on a busy machine
		Schema: pghealth.SchemaFunc(func(ctx context.Context, conn *pgx.Conn) (_, _ int64, _ bool, err error) {
			calls.Add(1)
			for range 3 {
				if _, err := conn.Exec(ctx, "select pg_sleep(1.2)"); err != nil {
					return 0, 0, false, err
				}
			}
			return 1, 1, false, nil
		}),
	})
	for answer := range int32(2) {
		r := get(t, pool, probe.Ready())
		if n := calls.Load(); n > answer+1 {
			t.Errorf("%d calls for answer %d: a check that was too slow was repeated", n, answer+1)
		}
		if c := r.check(t, "db:schema"); c.Status != "fail" || c.Category != "timeout" {
			t.Error(r.body)
		}
		if c := r.check(t, "db:connectivity"); c.Status != "pass" {
			t.Error(r.body)
		}
	}
}

// A new reason for the same failure is a change. A version is exact, however large.
func TestSchemaReasons(t *testing.T) {
	t.Parallel()
	const large = 9007199254740993 // no float64
	pool := newPool(t, pgserver.Database(t))
	var dirty atomic.Bool
	probe, log := newProbe(t, pool, pghealth.Options{
		Schema: pghealth.SchemaFunc(func(context.Context, *pgx.Conn) (int64, int64, bool, error) {
			return large, large + 1, dirty.Load(), nil
		}),
	})
	behind := get(t, pool, probe.Ready())
	if !strings.Contains(behind.body, `"observedValue":9007199254740993,`) {
		t.Error(behind.body)
	}
	get(t, pool, probe.Ready())
	dirty.Store(true)
	time.Sleep(2 * time.Millisecond) // times are in milliseconds
	half := get(t, pool, probe.Ready())
	if before, now := behind.check(t, "db:schema").Since, half.check(t, "db:schema").Since; !now.After(before) {
		t.Errorf("since %v, and %v", before, now)
	}
	if got := log.String(); strings.Count(got, "db:schema") != 2 || !strings.Contains(got, "is dirty") {
		t.Error(got)
	}
}

// A Schema that does not return keeps the probe's only connection.
func TestSchemaThatIgnoresItsContext(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	release := make(chan struct{})
	probe, _ := newProbe(t, pool, pghealth.Options{
		Timeout: faultTimeout,
		Schema: pghealth.SchemaFunc(func(context.Context, *pgx.Conn) (int64, int64, bool, error) {
			<-release
			return 1, 1, false, nil
		}),
	})
	for range 2 {
		wantCode(t, get(t, pool, probe.Ready()), http.StatusServiceUnavailable)
	}
	if c := get(t, pool, probe.Ready()).check(t, "db:connectivity"); c.Category != "timeout" {
		t.Errorf("%+v", c)
	}
	close(release)
	wantEventually(t, pool, probe.Ready(), http.StatusOK)
}
