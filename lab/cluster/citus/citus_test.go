package citus_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/lab/cluster/citus"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtx"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLedger(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]citus.Options{
		"citus": {Transfers: 200}, "one server": {Transfers: 200, Plain: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			opts.Out = &out
			verdict, err := citus.Run(t.Context(), opts)
			if errors.Is(err, citus.ErrMissing) {
				t.Skip(err)
			}
			if err != nil || verdict.Acknowledged == 0 || verdict.Acknowledged+verdict.Refused+verdict.Unknown != 200 {
				t.Errorf("%+v, %v\n%s", verdict, err, &out)
			}
		})
	}
}

// A canceled Run stops its servers.
func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := citus.Run(ctx, citus.Options{Plain: true, Transfers: 1_000_000, Out: new(bytes.Buffer)})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want the context's", err)
	}
}

// pgtx handles the errors of a coordinator, both of a statement and of COMMIT. The texts come from
// Citus.
func TestAnswersOfACoordinator(t *testing.T) {
	t.Parallel()
	for _, answer := range []struct {
		name, code, message string
		category            pgerr.Category
		repeated            bool
	}{
		{
			"a worker is gone", "08006", "connection to the remote node postgres@127.0.0.1:9701 failed with the following " +
				"error: Connection refused", pgerr.Connection, true,
		},
		{
			"a worker ended the session", "57P01", "terminating connection due to administrator command", pgerr.Shutdown, true,
		},
		{
			"distributed deadlock", "40P01", "canceling the transaction since it was involved in a distributed deadlock",
			pgerr.Deadlock, true,
		},
		{
			"the distribution column changes", "0A000", "modifying the partition value of rows is not allowed",
			pgerr.Statement, false,
		},
	} {
		for _, at := range []string{"statement", "commit"} {
			t.Run(answer.name+" at "+at, func(t *testing.T) {
				t.Parallel()
				pool := connect(t)
				raise(t, pool, answer.code, answer.message, at)
				attempts := 0
				err := pgtx.RunWith(t.Context(), pool, pgtx.Options{VerifyCommit: true},
					func(ctx context.Context, tx pgx.Tx) error {
						attempts++
						_, err := tx.Exec(ctx, `insert into answers values ($1)`, attempts == 1)
						return err
					})
				var rows int
				if err := pool.QueryRow(t.Context(), `select count(*) from answers`).Scan(&rows); err != nil {
					t.Fatal(err)
				}
				var cause *pgconn.PgError
				switch {
				case answer.repeated && (err != nil || attempts != 2 || rows != 1):
					t.Errorf("%d attempts, %d rows, %v; want the second to commit", attempts, rows, err)
				case !answer.repeated && (!errors.As(err, &cause) || cause.Message != answer.message ||
					pgerr.Of(err) != answer.category || attempts != 1 || rows != 0):
					t.Errorf("%d attempts, %d rows, %v of category %s; want the answer", attempts, rows, err,
						pgerr.Of(err))
				}
			})
		}
	}
}

func connect(t *testing.T) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(pgserver.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgpool.ConnectConfig(t.Context(), cfg, pgpool.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// raise makes an insert of true into answers fail like a coordinator.
func raise(t *testing.T, pool *pgxpool.Pool, code, message, at string) {
	t.Helper()
	deferred := map[string]string{"statement": "not deferrable", "commit": "deferrable initially deferred"}[at]
	for _, sql := range []string{
		`create table answers (refused bool not null)`,
		`create function refuse() returns trigger language plpgsql as $$
			begin raise exception '` + message + `' using errcode = '` + code + `'; end $$`,
		`create constraint trigger refuse after insert on answers ` + deferred + `
			for each row when (new.refused) execute function refuse()`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}
