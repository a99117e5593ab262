package prisma

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtx"
)

// The statements of all sides that can choose their statements.
const (
	readAccount = "select id, name, balance, opened from accounts where id = $1"
	insertEntry = "insert into entries (account, amount, note) values ($1, $2, $3) returning id"
	setBalance  = "update accounts set balance = $1 where id = $2"
)

type account struct {
	ID      int32
	Name    string
	Balance int32
	Opened  time.Time
}

func (a *account) fields() []any { return []any{&a.ID, &a.Name, &a.Balance, &a.Opened} }

type entry struct {
	ID      int32
	Account int32
	Amount  int32
	Note    string
}

func goSides() []side {
	return []side{
		{"pgpool and pgtx", openOurs}, {"pgxpool", openPgx}, {"database/sql over pgx", openSQL}, {"GORM", openGORM},
	}
}

// goClient has the operations of driver.mjs in Go. Its functions take the id of a row that no other
// caller uses; payIn reads and updates it.
func goClient(read, insert, payIn func(ctx context.Context, id int32) error, end func()) *client {
	do := map[string]func(context.Context, int32) error{"read": read, "insert": insert, "transaction": payIn}
	return &client{
		batch: func(ctx context.Context, operation string, callers, count int) (spent, error) {
			each := func(count int) error {
				return harness.InParallel(callers, count, func(ctx context.Context, id int) error {
					return do[operation](ctx, int32(id))
				})(ctx)
			}
			if err := each(callers); err != nil {
				return spent{}, err
			}
			began, cpu := time.Now(), harness.OwnCPU()
			err := each(count)
			return spent{time.Since(began), harness.OwnCPU() - cpu}, err
		},
		close: end,
	}
}

func openOurs(ctx context.Context, url string, conns int) (*client, error) {
	cfg, err := pgconfig.Parse(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = int32(conns)
	pool, err := pgpool.Connect(ctx, cfg, pgpool.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	return onPool(pool, func(ctx context.Context, fn func(pgx.Tx) error) error {
		return pgtx.Run(ctx, pool, func(_ context.Context, tx pgx.Tx) error { return fn(tx) })
	}), nil
}

func openPgx(ctx context.Context, url string, conns int) (*client, error) {
	pool, err := harness.Pool(ctx, url, int32(conns))
	if err != nil {
		return nil, err
	}
	return onPool(pool, func(ctx context.Context, fn func(pgx.Tx) error) error {
		return pgx.BeginFunc(ctx, pool, fn)
	}), nil
}

// onPool has the operations that are the same on every pgxpool.Pool.
func onPool(pool *pgxpool.Pool, transaction func(context.Context, func(pgx.Tx) error) error) *client {
	return goClient(func(ctx context.Context, id int32) error {
		return pool.QueryRow(ctx, readAccount, id).Scan((&account{}).fields()...)
	}, func(ctx context.Context, id int32) error {
		return pool.QueryRow(ctx, insertEntry, id, 1, "paid in").Scan(new(int32))
	}, func(ctx context.Context, id int32) error {
		return transaction(ctx, func(tx pgx.Tx) error {
			var a account
			if err := tx.QueryRow(ctx, readAccount, id).Scan(a.fields()...); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, setBalance, a.Balance+1, id)
			return err
		})
	}, pool.Close)
}

func openSQL(_ context.Context, url string, conns int) (*client, error) {
	db, err := openDB(url, conns)
	if err != nil {
		return nil, err
	}
	return goClient(func(ctx context.Context, id int32) error {
		return db.QueryRowContext(ctx, readAccount, id).Scan((&account{}).fields()...)
	}, func(ctx context.Context, id int32) error {
		return db.QueryRowContext(ctx, insertEntry, id, 1, "paid in").Scan(new(int32))
	}, func(ctx context.Context, id int32) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		var a account
		if err := tx.QueryRowContext(ctx, readAccount, id).Scan(a.fields()...); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, setBalance, a.Balance+1, id); err != nil {
			return err
		}
		return tx.Commit()
	}, func() { _ = db.Close() }), nil
}

// openGORM follows GORM's page on performance. Otherwise every insert would be a transaction.
func openGORM(_ context.Context, url string, conns int) (*client, error) {
	db, err := openDB(url, conns)
	if err != nil {
		return nil, err
	}
	g, err := gorm.Open(postgres.New(postgres.Config{Conn: db}),
		&gorm.Config{Logger: logger.Discard, SkipDefaultTransaction: true})
	if err != nil {
		return nil, err
	}
	return goClient(func(ctx context.Context, id int32) error {
		return g.WithContext(ctx).Take(&account{}, id).Error
	}, func(ctx context.Context, id int32) error {
		return g.WithContext(ctx).Create(&entry{Account: id, Amount: 1, Note: "paid in"}).Error
	}, func(ctx context.Context, id int32) error {
		return g.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			var a account
			if err := tx.Take(&a, id).Error; err != nil {
				return err
			}
			return tx.Model(&a).Update("balance", a.Balance+1).Error
		})
	}, func() { _ = db.Close() }), nil
}

// openDB keeps all connections; by default database/sql closes all but two of the idle ones.
func openDB(url string, conns int) (*sql.DB, error) {
	cfg, err := harness.ConnConfig(url)
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}
