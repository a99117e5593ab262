package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/page-builder/persistence/pgconfig"
)

// Main runs a service and returns the exit status. It takes the address from a flag and the
// database from the environment, and logs JSON to stderr. SIGINT or SIGTERM ends the service in
// order. A second signal ends the process at once.
func Main(name, address string, run func(ctx context.Context, opts Options) error) int {
	flag.StringVar(&address, "address", address, "where to listen")
	internal := flag.String("internal", "127.0.0.1:0", "where operators see /debug/health; port 0 takes a free one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	slog.SetDefault(log)
	err := func() (err error) {
		cfg, err := pgconfig.Load()
		if err != nil {
			return err
		}
		end, err := Trace(ctx, name)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, end(context.WithoutCancel(ctx))) }()
		return run(ctx, Options{Name: name, Address: address, Internal: *internal, Database: cfg, Logger: log})
	}()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}
