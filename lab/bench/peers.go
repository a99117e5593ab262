package main

import (
	"context"
	"database/sql"

	trmpgx "github.com/avito-tech/go-transaction-manager/drivers/pgxv5/v2"
	"github.com/avito-tech/go-transaction-manager/trm/v2"
	"github.com/avito-tech/go-transaction-manager/trm/v2/manager"
	"github.com/avito-tech/go-transaction-manager/trm/v2/settings"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// peers are other packages that run a function in a transaction, each as its documentation shows
// it.
type peers struct {
	pool    *pgxpool.Pool
	manager *manager.Manager // on pool
	nested  trm.Settings
	sql     *sql.DB // with pgx as its driver and connections of its own
	gorm    *gorm.DB
}

func newPeers(pool *pgxpool.Pool) (*peers, error) {
	m, err := manager.New(trmpgx.NewDefaultFactory(pool))
	if err != nil {
		return nil, err
	}
	nested, err := settings.New(settings.WithPropagation(trm.PropagationNested))
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*pool.Config().ConnConfig)
	g, err := gorm.Open(postgres.New(postgres.Config{Conn: db}), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return nil, err
	}
	return &peers{pool: pool, manager: m, nested: nested, sql: db, gorm: g}, nil
}

func (p *peers) close() { _ = p.sql.Close() }

func (p *peers) oneStatement() []side {
	return []side{
		{"go-transaction-manager", func(ctx context.Context) error { return p.manager.Do(ctx, p.update) }},
		{"database/sql over pgx", func(ctx context.Context) error {
			tx, err := p.sql.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }()
			if _, err := tx.ExecContext(ctx, increment, 1); err != nil {
				return err
			}
			return tx.Commit()
		}},
		{"GORM", func(ctx context.Context) error { return p.gorm.WithContext(ctx).Transaction(updateGORM) }},
	}
}

// fiveNested is without database/sql, which has no savepoints.
func (p *peers) fiveNested() []side {
	return []side{
		{"go-transaction-manager", func(ctx context.Context) error {
			return p.manager.Do(ctx, func(ctx context.Context) error {
				for range 5 {
					if err := p.manager.DoWithSettings(ctx, p.nested, p.update); err != nil {
						return err
					}
				}
				return nil
			})
		}},
		{"GORM", func(ctx context.Context) error {
			return p.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
				for range 5 {
					if err := tx.Transaction(updateGORM); err != nil {
						return err
					}
				}
				return nil
			})
		}},
	}
}

func (p *peers) update(ctx context.Context) error {
	_, err := trmpgx.DefaultCtxGetter.DefaultTrOrDB(ctx, p.pool).Exec(ctx, increment, 1)
	return err
}

func updateGORM(tx *gorm.DB) error {
	return tx.Exec("update counters set n = n + 1 where id = ?", 1).Error
}

// pipelined is the least that BEGIN in the flush of the first statement can cost with pgx: no check
// of anything, no rollback.
func pipelined(pool *pgxpool.Pool) side {
	return side{"by hand: BEGIN pipelined, no checks", func(ctx context.Context) error {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		batch := &pgx.Batch{}
		batch.Queue("begin")
		batch.Queue(increment, 1)
		if err := conn.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		_, err = conn.Exec(ctx, "commit")
		return err
	}}
}
