package chaos

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// floor measures how long the system itself has no primary that takes writes. One goroutine for
// each node keeps committing on a fresh connection to that node. No client can recover sooner.
type floor struct {
	nodes []string
	sql   string
	moments
}

const (
	floorPause = 50 * time.Millisecond
	floorLimit = time.Second // a node that is frozen takes connections and never answers
)

func (f *floor) run(ctx context.Context) {
	var nodes sync.WaitGroup
	for i, node := range f.nodes {
		nodes.Go(func() {
			for ctx.Err() == nil {
				if f.write(ctx, node, i) == nil {
					f.add(time.Now())
				}
				sleep(ctx, floorPause)
			}
		})
	}
	nodes.Wait()
}

func (f *floor) write(ctx context.Context, node string, i int) error {
	ctx, cancel := context.WithTimeout(ctx, floorLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, node)
	if err != nil {
		return err
	}
	defer closeSoon(ctx, conn)
	_, err = conn.Exec(ctx, f.sql, i)
	return err
}

// sleep returns after d, or when ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// closeSoon closes a connection to a server that may not answer.
func closeSoon(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), floorLimit)
	defer cancel()
	_ = conn.Close(ctx)
}
