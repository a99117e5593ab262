package fault

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // database/sql's driver

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtx"
)

// execution is a statement on a pool, or in a transaction.
type execution func(ctx context.Context, statement string) error

// program is a started service's access to its database.
type program struct {
	exec execution
	// transaction runs fn in a transaction on the pool, even if called inside another one's fn.
	transaction func(ctx context.Context, fn func(context.Context, execution) error) error
	close       func()
}

// side is one way to write a program, as its documentation shows it. start returns after the
// database's first answer.
type side struct {
	name  string
	start func(ctx context.Context, url string, conns int) (*program, error)
}

var (
	programs = []side{
		{"pgpool", ours(pgtx.Options{})},
		{"pgxpool", plain(pgx.BeginFunc)},
		{"database/sql", overSQL},
	}
	transactors = []side{
		{"pgtx.Run", ours(pgtx.Options{})},
		{"pgtx, VerifyCommit", ours(pgtx.Options{VerifyCommit: true})},
		{"pgx.BeginFunc", plain(pgx.BeginFunc)},
		{"BeginFunc, any error again", plain(anyErrorAgain)},
		{"database/sql", overSQL},
	}
)

// ours uses the defaults for production.
func ours(opts pgtx.Options) func(context.Context, string, int) (*program, error) {
	return func(ctx context.Context, url string, conns int) (*program, error) {
		cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: map[string]string{
			"APP_ENV": "production", "DATABASE_URL": url, "DATABASE_POOL_MAX_CONNS": fmt.Sprint(conns),
			"DATABASE_POOL_MIN_IDLE_CONNS": "0",
		}})
		if err != nil {
			return nil, err
		}
		pool, err := pgpool.Connect(ctx, cfg, pgpool.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			return nil, err
		}
		return onPool(ctx, pool, func(ctx context.Context, fn func(context.Context, execution) error) error {
			return pgtx.RunWith(ctx, pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				return fn(ctx, onTx(tx))
			})
		})
	}
}

// beginner is the unnamed interface in the signature of pgx.BeginFunc.
type beginner = interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

func plain(
	begin func(context.Context, beginner, func(pgx.Tx) error) error,
) func(context.Context, string, int) (*program, error) {
	return func(ctx context.Context, url string, conns int) (*program, error) {
		cfg, err := pgxpool.ParseConfig(url) // its error is part of the result
		if err != nil {
			return nil, err
		}
		cfg.MaxConns = int32(conns)
		pool, err := pgxpool.NewWithConfig(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return onPool(ctx, pool, func(ctx context.Context, fn func(context.Context, execution) error) error {
			return begin(ctx, pool, func(tx pgx.Tx) error { return fn(ctx, onTx(tx)) })
		})
	}
}

// anyErrorAgain is a common retry loop.
func anyErrorAgain(ctx context.Context, db beginner, fn func(pgx.Tx) error) (err error) {
	for range 5 {
		if err = pgx.BeginFunc(ctx, db, fn); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

func onPool(
	ctx context.Context, pool *pgxpool.Pool,
	transaction func(context.Context, func(context.Context, execution) error) error,
) (*program, error) {
	return (&program{
		exec: func(ctx context.Context, statement string) error {
			_, err := pool.Exec(ctx, statement)
			return err
		},
		transaction: transaction, close: pool.Close,
	}).first(ctx)
}

func onTx(tx pgx.Tx) execution {
	return func(ctx context.Context, statement string) error {
		_, err := tx.Exec(ctx, statement)
		return err
	}
}

// overSQL keeps all its connections, as the documentation advises, instead of two.
func overSQL(ctx context.Context, url string, conns int) (*program, error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return (&program{
		exec: func(ctx context.Context, statement string) error {
			_, err := db.ExecContext(ctx, statement)
			return err
		},
		transaction: func(ctx context.Context, fn func(context.Context, execution) error) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }()
			err = fn(ctx, func(ctx context.Context, statement string) error {
				_, err := tx.ExecContext(ctx, statement)
				return err
			})
			if err != nil {
				return err
			}
			return tx.Commit()
		},
		close: func() { _ = db.Close() },
	}).first(ctx)
}

// first runs the first query, and closes the program if it gets no answer.
func (p *program) first(ctx context.Context) (*program, error) {
	err := p.exec(ctx, "select 1")
	if err != nil {
		p.close()
	}
	return p, err
}
