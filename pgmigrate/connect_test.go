package pgmigrate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate"
)

// Every migration, not only the first, sees the session settings. And what the application's
// connection limits must not reach a migration.
func TestSessionSettings(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.config.RuntimeParams["statement_timeout"] = "7000"
	b.config.RuntimeParams["lock_timeout"] = "7000"
	const note = `insert into seen select array[current_setting('lock_timeout'), current_setting('statement_timeout'),
  current_setting('client_connection_check_interval'), current_setting('application_name'),
  (select reset_val from pg_settings where name = 'tcp_keepalives_idle')];`
	m := migrator(t, b, files(
		"1_a.sql", "create table seen (settings text[]);\n"+note,
		"2_b.sql", "set lock_timeout = 1; set search_path = pg_catalog, public;\n"+note,
		"3_c.sql", "---- tern: disable-tx ----\n"+note,
		"4_d.sql", note,
	), pgmigrate.WithLockTimeout(1500*time.Millisecond))
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := b.conn.Query(t.Context(), "select settings from seen")
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
	if err != nil {
		t.Fatal(err)
	}
	want := "[[1500ms 0 2s pgmigrate 30] [1ms 0 2s pgmigrate 30] [1500ms 0 2s pgmigrate 30] [1500ms 0 2s pgmigrate 30]]"
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
	if b.config.RuntimeParams["lock_timeout"] != "7000" || b.config.Tracer != nil {
		t.Error("the caller's configuration was changed")
	}
}

// Limits are rounded up, because 0 is none to the server; 0 or less is none here too, and a nil
// option nothing.
func TestLimitsAreRounded(t *testing.T) {
	t.Parallel()
	for limit, want := range map[time.Duration]string{
		-1: "0", 0: "0", 1: "1ms", time.Millisecond: "1ms", 1500*time.Millisecond + 1: "1501ms",
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			m := migrator(t, b,
				files("1_a.sql",
					"create table seen as select current_setting('lock_timeout') || "+
						"current_setting('statement_timeout') as it;"),
				pgmigrate.WithLockTimeout(limit), pgmigrate.WithStatementTimeout(10*time.Minute+limit), nil)
			if _, err := m.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			var got string
			if err := b.conn.QueryRow(t.Context(), "select it from seen").Scan(&got); err != nil ||
				!strings.HasPrefix(got, want) || want == "1501ms" && got != "1501ms601501ms" {
				t.Errorf("limits are %s, want %s: %v", got, want, err)
			}
		})
	}
}

// A server that does not know a setting of ours must still be migrated.
func TestClientCheckRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	// What the caller asks for wins, so a value that the server refuses can be sent.
	b.config.RuntimeParams["client_connection_check_interval"] = "-5"
	m := migrator(t, b, three())
	if _, err := m.Up(t.Context()); err != nil {
		t.Errorf("up: %v", err)
	}
	if _, err := m.Status(t.Context()); err != nil {
		t.Errorf("status: %v", err)
	}
}

func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, files("1_a.sql", "create table a (id int);\nselect pg_sleep(60);"),
		pgmigrate.WithStatementTimeout(time.Second))
	_, err := m.Up(t.Context())
	var failed *pgmigrate.MigrationError
	if !errors.As(err, &failed) || failed.State != pgmigrate.StateRolledBack ||
		!strings.Contains(err.Error(), "57014") {
		t.Errorf("got %v", err)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var got []string
	m := migrator(t, b, files(
		"1_a.sql", "create table a (id int);\ncreate table b (id int);\n",
		"2_b.sql", "---- tern: disable-tx ----\n\ncreate index concurrently a_id on a (id);\n-- next\ncreate index "+
			"concurrently b_id on b (id);\n",
	), pgmigrate.WithProgress(func(e pgmigrate.Event) {
		if (e.Kind == pgmigrate.EventDone) != (e.Duration > 0) {
			t.Errorf("duration in %+v", e)
		}
		got = append(got, fmt.Sprintf("%s %d %s %s %d", e.Kind, e.Version, e.Name, e.Direction, e.Line))
	}))
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"start 1 1_a.sql up 0", "statement 1 1_a.sql up 1", "statement 1 1_a.sql up 2", "done 1 1_a.sql up 0",
		"start 2 2_b.sql up 0", "statement 2 2_b.sql up 3", "statement 2 2_b.sql up 5", "done 2 2_b.sql up 0",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestCannotConnect(t *testing.T) {
	t.Parallel()
	cfg, err := pgx.ParseConfig("postgres://app:s3cret@/db?sslmode=disable&host=" + t.TempDir()) // no socket is there
	if err != nil {
		t.Fatal("parse")
	}
	m, err := pgmigrate.New(cfg, three())
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Up(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "connect: ") {
		t.Errorf("got %v", err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "s3cret") {
		t.Error("the error shows the password")
	}
}

// An address of several servers that asks for the one that takes writes: what only reads finds it
// too, and cannot write there.
func TestReadsOfTheServerForWrites(t *testing.T) {
	t.Parallel()
	b := setup(t)
	asked := false
	for _, attrs := range []string{"read-write", "primary"} {
		several, err := pgx.ParseConfig(fmt.Sprintf(
			"host=%s,%s port=5432,%d user=%s dbname='%s' sslmode=disable target_session_attrs=%s",
			t.TempDir(), b.config.Host, b.config.Port,
			b.config.User, b.config.Database, attrs))
		if err != nil {
			t.Fatal("parse the address")
		}
		readOnly := ""
		several.AfterConnect = func(_ context.Context, conn *pgconn.PgConn) error {
			asked = true
			return nil
		}
		several.Tracer = &lastQuery{func(ctx context.Context, conn *pgx.Conn) {
			if readOnly == "" {
				readOnly = conn.PgConn().ParameterStatus("default_transaction_read_only")
			}
		}}
		m, err := pgmigrate.New(several, three())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Up(t.Context()); err != nil {
			t.Fatalf("%s: up: %v", attrs, err)
		}
		readOnly = ""
		status, err := m.Status(t.Context())
		if err != nil || status.Version != 3 {
			t.Errorf("%s: at version %d, %v", attrs, status.Version, err)
		}
		if readOnly != "on" || !asked {
			t.Errorf("%s: default_transaction_read_only is %q; the caller's own function ran: %v",
				attrs, readOnly, asked)
		}
	}
}

// lastQuery calls fn with the connection of each query.
type lastQuery struct {
	fn func(context.Context, *pgx.Conn)
}

func (q *lastQuery) TraceQueryStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	q.fn(ctx, conn)
	return ctx
}
func (*lastQuery) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
