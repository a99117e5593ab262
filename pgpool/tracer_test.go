package pgpool_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgpool"
)

type counting struct{ started, ended, connects atomic.Int32 }

func (c *counting) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.started.Add(1)
	return ctx
}

func (c *counting) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) { c.ended.Add(1) }

func (c *counting) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}
func (c *counting) TraceConnectEnd(context.Context, pgx.TraceConnectEndData) { c.connects.Add(1) }

func TestTracersAreComposed(t *testing.T) {
	t.Parallel()
	own, first, second := &counting{}, &counting{}, &counting{}
	config := database(t)
	config.ConnConfig.Tracer = own
	pool := connect(t, config, pgpool.WithTracer(first), pgpool.WithTracer(second), pgpool.WithTracer(nil))
	if _, err := pool.Exec(t.Context(), `select $1::int`, 1); err != nil {
		t.Fatal(err)
	}
	for name, tracer := range map[string]*counting{
		"the configuration's own": own, "the first": first, "the second": second,
	} {
		if tracer.started.Load() != 1 || tracer.ended.Load() != 1 || tracer.connects.Load() == 0 {
			t.Errorf("%s saw %d queries start, %d end, %d connects; want 1, 1 and some",
				name, tracer.started.Load(), tracer.ended.Load(), tracer.connects.Load())
		}
	}
}

func TestSlowQueriesAreLoggedWithoutArguments(t *testing.T) {
	t.Parallel()
	var log logs
	pool := connect(t, database(t), pgpool.WithLogger(log.Logger()), pgpool.WithSlowQuery(300*time.Millisecond))
	ctx := t.Context()
	if _, err := pool.Exec(ctx, `create table notes (body text)`); err != nil {
		t.Fatal(err)
	}

	if _, err := pool.Exec(ctx, `select 'quick', $1::text`, "argument-one"); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(ctx, `select pg_sleep(0.35), $1::text`, "argument-two"); err != nil {
		t.Fatal(err)
	}
	batch := &pgx.Batch{}
	batch.Queue(`select pg_sleep(0.35), 'batch', $1::text`, "argument-three")
	batch.Queue(`select 1`)
	if err := pool.SendBatch(ctx, batch).Close(); err != nil {
		t.Fatal(err)
	}
	transaction := &pgx.Batch{} // named after what it is about
	for _, sql := range []string{`begin`, `select pg_sleep(0.35) as the_first_statement`, `commit`} {
		transaction.Queue(sql)
	}
	if err := pool.SendBatch(ctx, transaction).Close(); err != nil {
		t.Fatal(err)
	}
	if err := pool.SendBatch(ctx, &pgx.Batch{}).Close(); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
	if _, err := pool.Exec(ctx, `select pg_sleep(0.35) /* generated `+strings.Repeat("ä", 5000)+
		` end of it */`); err != nil {
		t.Fatal(err)
	}
	slowRows := pgx.CopyFromFunc(func() func() ([]any, error) {
		rows := 0
		return func() ([]any, error) {
			rows++
			if rows > 1 {
				return nil, nil
			}
			time.Sleep(350 * time.Millisecond) // the source of the copy is slow
			return []any{"argument-four"}, nil
		}
	}())
	if _, err := pool.CopyFrom(ctx, pgx.Identifier{"notes"}, []string{"body"}, slowRows); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(ctx,
		`select pg_sleep(0.35); create role never_made password 'argument-five' valid until 'nonsense'`); err == nil {
		t.Fatal("a date that is none was accepted")
	}
	if _, err := pool.Exec(ctx, `select pg_sleep(0.35)::text::int + $1`, 6); err == nil {
		t.Fatal("an empty text was accepted as a number")
	}

	for _, want := range []string{
		`msg="slow query"`, `sql="select pg_sleep(0.35), $1::text"`,
		`msg="slow batch"`, `statements=2`,
		`sql="select pg_sleep(0.35) as the_first_statement"`, `äää …"`,
		`msg="slow copy" `, `sql="copy \"notes\""`,
		`create role never_made password '…' valid until '…'"`,
		`category=data`,
	} {
		if len(log.Lines(want)) == 0 {
			t.Errorf("log has no line with %s:\n%s", want, &log)
		}
	}
	for _, secret := range []string{"quick", "argument-", "end of it"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("log contains %q:\n%s", secret, &log)
		}
	}
}
