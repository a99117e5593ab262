package main

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtx"
)

// What every side sends, as far as its author can choose.
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

type entry struct {
	ID      int32
	Account int32
	Amount  int32
	Note    string
}

// goSide is a way from Go. Its functions take the id of a row that no other caller uses.
type goSide struct {
	read, insert func(ctx context.Context, id int32) error
	// payIn reads a row, holds the transaction open for a while, and updates it.
	payIn func(ctx context.Context, id int32, holdFor time.Duration) error
	close func()
}

func openOurs(
	ctx context.Context, url string, conns int, acquire time.Duration, options pgtx.Options,
) (*goSide, error) {
	cfg, err := pgconfig.Parse(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = int32(conns)
	if acquire > 0 {
		cfg.AcquireTimeout = acquire
	}
	pool, err := pgpool.Connect(ctx, cfg, quiet)
	if err != nil {
		return nil, err
	}
	s := onPgxPool(pool)
	s.payIn = func(ctx context.Context, id int32, holdFor time.Duration) error {
		return pgtx.RunWith(ctx, pool, options, func(ctx context.Context, tx pgx.Tx) error {
			return payIn(ctx, tx, id, holdFor)
		})
	}
	return s, nil
}

func openPgx(ctx context.Context, url string, conns int) (*goSide, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the throw-away server's URL cannot be parsed")
	}
	cfg.MaxConns = int32(conns)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s := onPgxPool(pool)
	s.payIn = func(ctx context.Context, id int32, holdFor time.Duration) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return payIn(ctx, tx, id, holdFor) })
	}
	return s, nil
}

// onPgxPool has what is the same on each pgxpool.Pool.
func onPgxPool(pool *pgxpool.Pool) *goSide {
	return &goSide{
		read: func(ctx context.Context, id int32) error {
			var a account
			return pool.QueryRow(ctx, readAccount, id).Scan(&a.ID, &a.Name, &a.Balance, &a.Opened)
		},
		insert: func(ctx context.Context, id int32) error {
			var made int32
			return pool.QueryRow(ctx, insertEntry, id, 1, "paid in").Scan(&made)
		},
		close: pool.Close,
	}
}

func payIn(ctx context.Context, tx pgx.Tx, id int32, holdFor time.Duration) error {
	var a account
	if err := tx.QueryRow(ctx, readAccount, id).Scan(&a.ID, &a.Name, &a.Balance, &a.Opened); err != nil {
		return err
	}
	wait(holdFor)
	_, err := tx.Exec(ctx, setBalance, a.Balance+1, id)
	return err
}

func wait(d time.Duration) {
	if d > 0 {
		time.Sleep(d) // it is what is measured: a program that does something else in its transaction
	}
}

func openSQL(url string, conns int) (*goSide, error) {
	db, err := openDB(url, conns)
	if err != nil {
		return nil, err
	}
	return &goSide{
		read: func(ctx context.Context, id int32) error {
			var a account
			return db.QueryRowContext(ctx, readAccount, id).Scan(&a.ID, &a.Name, &a.Balance, &a.Opened)
		},
		insert: func(ctx context.Context, id int32) error {
			var made int32
			return db.QueryRowContext(ctx, insertEntry, id, 1, "paid in").Scan(&made)
		},
		payIn: func(ctx context.Context, id int32, holdFor time.Duration) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }()
			var a account
			if err := tx.QueryRowContext(ctx, readAccount, id).Scan(&a.ID, &a.Name, &a.Balance, &a.Opened); err != nil {
				return err
			}
			wait(holdFor)
			if _, err := tx.ExecContext(ctx, setBalance, a.Balance+1, id); err != nil {
				return err
			}
			return tx.Commit()
		},
		close: func() { _ = db.Close() },
	}, nil
}

func openGORM(url string, conns int) (*goSide, error) {
	db, err := openDB(url, conns)
	if err != nil {
		return nil, err
	}
	// As its page on performance says: else every insert is a transaction of its own.
	g, err := gorm.Open(postgres.New(postgres.Config{Conn: db}),
		&gorm.Config{Logger: logger.Discard, SkipDefaultTransaction: true})
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return &goSide{
		read: func(ctx context.Context, id int32) error {
			return g.WithContext(ctx).Take(&account{}, id).Error
		},
		insert: func(ctx context.Context, id int32) error {
			return g.WithContext(ctx).Create(&entry{Account: id, Amount: 1, Note: "paid in"}).Error
		},
		payIn: func(ctx context.Context, id int32, holdFor time.Duration) error {
			return g.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
				var a account
				if err := tx.Take(&a, id).Error; err != nil {
					return err
				}
				wait(holdFor)
				return tx.Model(&a).Update("balance", a.Balance+1).Error
			})
		},
		close: func() { _ = db.Close() },
	}, nil
}

// openDB keeps all connections: by itself database/sql closes all but two of those that are idle.
func openDB(url string, conns int) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the throw-away server's URL cannot be parsed")
	}
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}
