package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/lab/cluster"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/replica"
)

// readers reads from the standbys: package replica by the URL of every node, including the current
// primary, and a plain connection by HAProxy's reader. The returned function waits until both
// standbys are in use and a token's reader shows the write.
func readers(t *testing.T, c *cluster.Cluster) (work func()) {
	ctx := t.Context()
	env := c.Env()
	cfg := load(t, map[string]string{
		"DATABASE_URL": env.MultiHost, "DATABASE_REPLICA_URLS": strings.Join(env.Nodes, ","),
	})
	db, err := replica.Open(ctx, cfg, pgpool.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Shutdown(context.WithoutCancel(ctx)) })
	if _, err := db.Primary().Exec(ctx, "create table seen (n int)"); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		eventually(t, func() error { return bothInUse(db) })
		eventually(t, func() error {
			if _, err := db.Primary().Exec(ctx, "insert into seen values (1)"); err != nil {
				return err
			}
			token, err := db.Token(ctx)
			if err != nil {
				return err
			}
			var want, got int
			if err := db.Primary().QueryRow(ctx, "select count(*) from seen").Scan(&want); err != nil {
				return err
			}
			standby := false
			err = db.Reader(replica.WithToken(ctx, token)).QueryRow(ctx,
				"select count(*), pg_is_in_recovery() from seen").Scan(&got, &standby)
			if err != nil {
				return err
			}
			if got != want {
				t.Errorf("the reader shows %d rows of %d", got, want)
			}
			if !standby {
				return errors.New("the primary was read from")
			}
			return nil
		})
		eventually(t, func() error { return readerLeadsToStandby(ctx, env.Reader) })
	}
}

func bothInUse(db *replica.Cluster) error {
	standbys := 0
	for _, r := range db.Replicas() {
		if r.Err == nil {
			standbys++
		} else if !errors.Is(r.Err, replica.ErrNotStandby) {
			return r.Err
		}
	}
	if standbys != 2 {
		return fmt.Errorf("%d standbys are read from", standbys)
	}
	return nil
}

func readerLeadsToStandby(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	standby := false
	if err := conn.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&standby); err != nil {
		return err
	}
	if !standby {
		return errors.New("HAProxy's reader leads to the primary")
	}
	return nil
}
