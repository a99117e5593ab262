package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtx"
)

// execution is a statement on a pool, or in a transaction.
type execution func(ctx context.Context, statement string) error

// program is what a service has of a database once it has started.
type program struct {
	exec execution
	// transaction runs fn in a transaction on the pool, also when it is called in another one's fn.
	transaction func(ctx context.Context, fn func(context.Context, execution) error) error
	inUse       func() int // connections
	close       func()
}

// faultSide is one of the ways to write a program, each as its documentation shows it. start
// returns when the first answer of the database was there.
type faultSide struct {
	name  string
	ours  bool
	start func(ctx context.Context, url string, conns int) (*program, error)
}

var (
	programs = []faultSide{
		{"pgpool", true, ours(pgtx.Options{})},
		{"pgxpool", false, plain(pgx.BeginFunc)},
		{"database/sql", false, overSQL},
		{"GORM", false, overGORM},
	}
	transactors = []faultSide{
		{"pgtx.Run", true, ours(pgtx.Options{})},
		{"pgtx, VerifyCommit", true, ours(pgtx.Options{VerifyCommit: true})},
		{"pgx.BeginFunc", false, plain(pgx.BeginFunc)},
		{"BeginFunc, any error again", false, plain(anyErrorAgain)},
		{"database/sql", false, overSQL},
		{"GORM", false, overGORM},
	}
)

// ours has the defaults of production.
func ours(opts pgtx.Options) func(context.Context, string, int) (*program, error) {
	return func(ctx context.Context, url string, conns int) (*program, error) {
		cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: map[string]string{
			"APP_ENV": "production", "DATABASE_URL": url, "DATABASE_POOL_MAX_CONNS": fmt.Sprint(conns),
			"DATABASE_POOL_MIN_IDLE_CONNS": "0",
		}})
		if err != nil {
			return nil, err
		}
		pool, err := pgpool.Connect(ctx, cfg, quiet)
		if err != nil {
			return nil, err
		}
		p := onPool(pool)
		p.transaction = func(ctx context.Context, fn func(context.Context, execution) error) error {
			return pgtx.RunWith(ctx, pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				return fn(ctx, onPGX(tx))
			})
		}
		return p, p.first(ctx)
	}
}

func plain(
	begin func(context.Context, beginnerOf, func(pgx.Tx) error) error,
) func(context.Context, string, int) (*program, error) {
	return func(ctx context.Context, url string, conns int) (*program, error) {
		cfg, err := pgxpool.ParseConfig(url)
		if err != nil {
			return nil, err
		}
		cfg.MaxConns = int32(conns) // a few
		pool, err := pgxpool.NewWithConfig(ctx, cfg)
		if err != nil {
			return nil, err
		}
		p := onPool(pool)
		p.transaction = func(ctx context.Context, fn func(context.Context, execution) error) error {
			return begin(ctx, pool, func(tx pgx.Tx) error { return fn(ctx, onPGX(tx)) })
		}
		return p, p.first(ctx)
	}
}

// beginnerOf is the unnamed interface in the signature of pgx.BeginFunc.
type beginnerOf = interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// anyErrorAgain is the loop that many write.
func anyErrorAgain(ctx context.Context, db beginnerOf, fn func(pgx.Tx) error) (err error) {
	for range 5 {
		if err = pgx.BeginFunc(ctx, db, fn); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

func onPool(pool *pgxpool.Pool) *program {
	return &program{
		exec: func(ctx context.Context, statement string) error {
			_, err := pool.Exec(ctx, statement)
			return err
		},
		inUse: func() int { return int(pool.Stat().AcquiredConns()) },
		close: pool.Close,
	}
}

func onPGX(tx pgx.Tx) execution {
	return func(ctx context.Context, statement string) error {
		_, err := tx.Exec(ctx, statement)
		return err
	}
}

func overSQL(ctx context.Context, url string, conns int) (*program, error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, err
	}
	p := onSQL(db, conns)
	p.transaction = func(ctx context.Context, fn func(context.Context, execution) error) error {
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
	}
	return p, p.first(ctx)
}

// onSQL keeps all its connections, as the documentation advises, instead of two.
func onSQL(db *sql.DB, conns int) *program {
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return &program{
		exec: func(ctx context.Context, statement string) error {
			_, err := db.ExecContext(ctx, statement)
			return err
		},
		inUse: func() int { return db.Stats().InUse },
		close: func() { _ = db.Close() },
	}
}

func overGORM(ctx context.Context, url string, conns int) (*program, error) {
	g, err := gorm.Open(postgres.Open(url), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return nil, err
	}
	db, err := g.DB()
	if err != nil {
		return nil, err
	}
	p := onSQL(db, conns)
	p.transaction = func(ctx context.Context, fn func(context.Context, execution) error) error {
		return g.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			return fn(ctx, func(ctx context.Context, statement string) error {
				return tx.WithContext(ctx).Exec(statement).Error
			})
		})
	}
	return p, p.first(ctx)
}

// first closes the program if there is no answer.
func (p *program) first(ctx context.Context) error {
	err := p.exec(ctx, "select 1")
	if err != nil {
		p.close()
	}
	return err
}
