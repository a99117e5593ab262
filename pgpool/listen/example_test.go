package listen_test

import (
	"context"
	"fmt"
	"log"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool/listen"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// A cache of pages that follows what other instances write. It reads everything again whenever
// notifications may have been missed.
func Example() {
	server, err := pgserver.Acquire(context.Background(), pgserver.Options{}) // a service has its own
	if err != nil {
		log.Print(err)
		return
	}
	defer server.Release()
	cfg, err := pgconfig.Parse(server.DatabaseURL("postgres")) // a service calls pgconfig.Load
	if err != nil {
		log.Print(err)
		return
	}
	listener, err := listen.New(cfg)
	if err != nil {
		log.Print(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	err = listener.Handle("pages",
		func(_ context.Context, n *pgconn.Notification) error {
			fmt.Println("drop page", n.Payload, "from the cache")
			stop() // a service goes on
			return nil
		},
		func(ctx context.Context, conn *pgx.Conn) error {
			fmt.Println("read all pages")
			_, err := conn.Exec(ctx, `notify pages, '17'`) // as another instance does
			return err
		})
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(listener.Listen(ctx)) // until ctx ends
	// Output:
	// read all pages
	// drop page 17 from the cache
	// context canceled
}
