package pgpool_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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

// A SIGTERM ends the service: it stops taking requests, finishes what is under way, and closes the pool within a limit.
// Who still holds a connection then is named in the error and cut off.
func ExampleShutdown() {
	run := func(ctx context.Context, server *http.Server, pool *pgxpool.Pool) error {
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		failed := make(chan error, 1)
		go func() { failed <- server.ListenAndServe() }()
		var serveErr error
		select {
		case serveErr = <-failed:
		case <-ctx.Done():
			stop() // a second signal ends the process at once
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		return errors.Join(serveErr, server.Shutdown(ctx), pgpool.Shutdown(ctx, pool))
	}
	_ = run
}

// A cache of pages that follows what others write, and is read anew whenever notifications may have been missed.
func ExampleListener() {
	follow := func(ctx context.Context, cfg pgconfig.Config, drop func(id string), reload func(context.Context, *pgx.Conn) error) error {
		direct, err := cfg.DirectConfig()
		if err != nil {
			return err
		}
		listener, err := pgpool.Listener(direct)
		if err != nil {
			return err
		}
		listener.Handle("pages", pgpool.Notified(
			func(_ context.Context, n *pgconn.Notification) error { drop(n.Payload); return nil },
			reload,
		))
		return listener.Listen(ctx) // until ctx ends
	}
	_ = follow
}

// A health check fails while nothing is heard.
func ExampleListenerStatus() {
	check := func(status *pgpool.ListenerStatus) error {
		if state := status.State(); !state.Connected {
			return fmt.Errorf("not listening since %s: %w", state.Since, state.Err)
		}
		return nil
	}
	_ = check
}

// A cloud's token is the password of the next connection; those that are open stay logged in.
func ExampleWithPassword() {
	open := func(ctx context.Context, cfg pgconfig.Config, token func(context.Context) (string, error)) (*pgxpool.Pool, error) {
		return pgpool.Connect(ctx, cfg, pgpool.WithPassword(token))
	}
	_ = open
}

// Who holds the connections, for a page that only operators see.
func ExampleHolders() {
	page := func(w http.ResponseWriter, pool *pgxpool.Pool) {
		for _, holder := range pgpool.Holders(pool) {
			fmt.Fprintln(w, holder)
		}
	}
	_ = page
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
