package pgpool_test

import (
	"context"
	"fmt"
	"log"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgpool"
)

// A cache of pages that follows what others write, and is read anew whenever notifications may have
// been missed.
func ExampleListener() {
	cfg, end := configured()
	defer end()
	direct, err := cfg.DirectConfig() // never through PgBouncer
	if err != nil {
		log.Print(err)
		return
	}
	var status pgpool.ListenerStatus
	listener, err := pgpool.Listener(direct, pgpool.WithListenerStatus(&status))
	if err != nil {
		log.Print(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	listener.Handle("pages", pgpool.Notified(
		func(_ context.Context, n *pgconn.Notification) error {
			fmt.Println("drop page", n.Payload, "from the cache")
			stop() // a service goes on
			return nil
		},
		func(ctx context.Context, conn *pgx.Conn) error {
			fmt.Println("read all pages; connected:", status.State().Connected)
			_, err := conn.Exec(ctx, `notify pages, '17'`) // as another instance does
			return err
		},
	))
	fmt.Println(listener.Listen(ctx)) // until ctx ends
	// Output:
	// read all pages; connected: true
	// drop page 17 from the cache
	// context canceled
}
