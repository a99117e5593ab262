package transaction

import (
	"context"
	"database/sql"

	trmpgx "github.com/avito-tech/go-transaction-manager/drivers/pgxv5/v2"
	"github.com/avito-tech/go-transaction-manager/trm/v2/manager"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/page-builder/persistence/lab/bench/harness"
)

// peers are other packages that run a function in a transaction, used as their documentation shows.
type peers struct {
	pool    *pgxpool.Pool
	manager *manager.Manager // on pool
	sql     *sql.DB          // with pgx as its driver and its own connections
	gorm    *gorm.DB
}

func newPeers(pool *pgxpool.Pool) (*peers, error) {
	m, err := manager.New(trmpgx.NewDefaultFactory(pool))
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*pool.Config().ConnConfig)
	g, err := gorm.Open(postgres.New(postgres.Config{Conn: db}), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return nil, err
	}
	return &peers{pool: pool, manager: m, sql: db, gorm: g}, nil
}

func (p *peers) oneStatement() []harness.Side {
	return []harness.Side{
		{Name: "go-transaction-manager", Op: func(ctx context.Context) error { return p.manager.Do(ctx, p.update) }},
		{Name: "database/sql over pgx", Op: func(ctx context.Context) error {
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
		{Name: "GORM", Op: func(ctx context.Context) error { return p.gorm.WithContext(ctx).Transaction(updateGORM) }},
	}
}

func (p *peers) update(ctx context.Context) error {
	_, err := trmpgx.DefaultCtxGetter.DefaultTrOrDB(ctx, p.pool).Exec(ctx, increment, 1)
	return err
}

func updateGORM(tx *gorm.DB) error {
	return tx.Exec("update counters set n = n + 1 where id = ?", 1).Error
}
