package pgpool_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
)

// The life of a service's pool: connect, work until a signal, shut down within a limit.
func ExampleConnect() {
	run := func(serve func(ctx context.Context, pool *pgxpool.Pool) error) error {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()

		cfg, err := pgconfig.Load()
		if err != nil {
			return err
		}
		pool, err := pgpool.Connect(ctx, cfg, pgpool.WithLogger(slog.Default()))
		if err != nil {
			return err
		}
		serveErr := serve(ctx, pool) // returns when ctx ends

		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return errors.Join(serveErr, pgpool.Shutdown(ctx, pool))
	}
	_ = run
}

func ExampleConnectConfig() {
	open := func(ctx context.Context, url string) (*pgxpool.Pool, error) {
		cfg, err := pgxpool.ParseConfig(url)
		if err != nil {
			return nil, errors.New("the connection string cannot be parsed") // pgx's error may quote the password
		}
		cfg.MaxConns = 10
		return pgpool.ConnectConfig(ctx, cfg,
			pgpool.WithStartupTimeout(30*time.Second),
			pgpool.WithAcquireTimeout(2*time.Second),
			pgpool.WithSlowQuery(200*time.Millisecond),
		)
	}
	_ = open
}

// A busy pool is answered with 503, which a client may try again, and not with 500.
func ExampleAcquireError() {
	status := func(err error) int {
		if errors.Is(err, pgpool.ErrExhausted) {
			return http.StatusServiceUnavailable
		}
		return http.StatusInternalServerError
	}
	_ = status
}

func ExampleDefault() {
	countUsers := func(ctx context.Context) (count int, err error) {
		pool, err := pgpool.Default(ctx)
		if err != nil {
			return 0, err
		}
		err = pool.QueryRow(ctx, `select count(*) from users`).Scan(&count)
		return count, err
	}
	_ = countUsers
}
