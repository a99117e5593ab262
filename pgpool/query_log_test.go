package pgpool_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func TestFailuresAreLoggedWithCategory(t *testing.T) {
	t.Parallel()
	var log logs
	pool := connect(t, database(t), pgpool.WithLogger(log.Logger()))
	ctx := t.Context()
	if _, err := pool.Exec(ctx, `create table notes (id int primary key, body text)`); err != nil {
		t.Fatal(err)
	}
	const secret = "argument-seven"
	for _, fail := range []func() error{
		func() error { _, err := pool.Exec(ctx, `insert into nowhere values ($1)`, secret); return err },
		func() error {
			_, err := pool.Exec(ctx, `insert into notes values (1, $1), (1, $1)`, secret)
			return err
		},
		func() error { _, err := pool.Exec(ctx, `select $1::text::int`, secret); return err },
		func() error { _, err := pool.Exec(ctx, `select $1::int + 1`, secret); return err }, // fails to encode
		func() error {
			batch := &pgx.Batch{}
			batch.Queue(`select 1 / $1::int`, 0)
			return pool.SendBatch(ctx, batch).Close()
		},
		func() error {
			_, err := pool.CopyFrom(ctx, pgx.Identifier{"notes"}, []string{"id", "body"},
				pgx.CopyFromRows([][]any{{2, secret}, {2, secret}}))
			return err
		},
		func() error {
			ctx, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
			defer cancel()
			_, err := pool.Exec(ctx, `select pg_sleep(60) as gave_up`)
			return err
		},
	} {
		if err := fail(); err == nil {
			t.Error("did not fail")
		}
	}
	for _, want := range []string{
		`level=WARN msg="query failed" duration=`,
		`sql="insert into nowhere values ($1)" category=statement sqlstate=42P01`,
		`sql="insert into notes values (1, $1), (1, $1)" category=constraint sqlstate=23505`,
		`level=DEBUG msg="query failed"`,
		`sql="select $1::text::int" category=data sqlstate=22P02`,
		`sql="select $1::int + 1" category=`,
		`level=DEBUG msg="batch failed"`, `category=data sqlstate=22012`,
		`level=DEBUG msg="copy failed"`, `sql="copy \"notes\"" category=constraint sqlstate=23505`,
		`sql="select pg_sleep(60) as gave_up" category=timeout`,
	} {
		if len(log.Lines(want)) == 0 {
			t.Errorf("log has no line with %s:\n%s", want, &log)
		}
	}
	if strings.Contains(log.String(), secret) {
		t.Errorf("log contains an argument:\n%s", &log)
	}
}

// In an outage every caller fails, but the log stays short.
func TestFailuresToConnectAreLoggedSparingly(t *testing.T) {
	t.Parallel()
	config := database(t)
	p := through(t, config, fault.Options{})
	var log logs
	pool := connect(t, config, pgpool.WithLogger(log.Logger()))
	p.Refuse()
	pool.Reset()
	began := time.Now()
	for time.Since(began) < 2500*time.Millisecond {
		if err := pool.Ping(t.Context()); err == nil {
			t.Fatal("a server that is not there answers")
		}
	}
	most := int(time.Since(began)/time.Second) + 1
	refused := 0
	for _, line := range log.Lines(`msg="connecting to the database failed"`) {
		if strings.Contains(line, "category=refused") { // a busy machine has others too, each with its own line
			refused++
		}
	}
	if refused == 0 || refused > most {
		t.Errorf("%d lines, want 1 to %d, with category:\n%s", refused, most, &log)
	}
}
