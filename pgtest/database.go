package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/peterldowns/pgtestdb"
)

// database is one that a test has.
type database struct {
	host     *host
	source   *source
	name     string
	url      string
	warm     *warm     // nil: none
	recycled *recycled // nil: to be dropped
}

// open takes a clone for the test and registers its end. It fails the test and returns nil if there
// is none.
func open(t TB, o options) *database {
	t.Helper()
	m, err := o.migrator()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
		return nil
	}
	db, err := claim(t.Context(), m, o)
	if errors.Is(err, errLost) { // since the last test; its databases went with it
		db, err = claim(t.Context(), m, o)
	}
	if err != nil {
		t.Fatalf("pgtest: %v", err)
		return nil
	}
	t.Cleanup(func() {
		db.host.running.Add(-1)
		if db.warm != nil {
			db.warm.close() // unless a pool has it
		}
		if t.Failed() && o.keeps() {
			if err := db.keep(t); err != nil {
				t.Errorf("pgtest: keep the database: %v", err)
			}
			return
		}
		if err := db.end(t); err != nil {
			t.Errorf("pgtest: drop the database: %v", err)
		}
	})
	if err := db.host.failures(); err != nil {
		t.Logf("pgtest: the database of an earlier test was not dropped: %v", err)
	}
	return db
}

func claim(ctx context.Context, m pgtestdb.Migrator, o options) (*database, error) {
	// The host outlives the test that is the first to need it.
	h, err := process.get(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	h.running.Add(1)
	db, err := h.claim(ctx, m, o)
	if err != nil {
		h.running.Add(-1)
	}
	if errors.Is(err, errLost) {
		process.forget(h)
	}
	return db, err
}

func (h *host) claim(ctx context.Context, m pgtestdb.Migrator, o options) (*database, error) {
	conf, err := testdbConfig(h.server, o.superuser)
	if err != nil {
		return nil, err
	}
	hash, err := m.Hash()
	if err != nil {
		return nil, fmt.Errorf("hash of the migrations: %w", err)
	}
	role := conf.TestRole
	sum := sha256.Sum256([]byte(role.Username + "\x00" + role.Password + "\x00" + role.Capabilities + "\x00" + hash))
	s := h.source(hex.EncodeToString(sum[:16]))
	if err := s.prepare(context.WithoutCancel(ctx), conf, m); err != nil {
		return nil, err
	}
	h.sweepOnce(ctx)
	db := &database{host: h, source: s}
	recycle := o.recycle && h.server.Ephemeral()
	if recycle {
		db.recycled = s.takeRecycled(ctx)
	}
	if db.recycled != nil {
		db.name = db.recycled.name
	} else if err := db.take(ctx, recycle, o.connects); err != nil {
		return nil, err
	}
	db.url = s.url(db.name)
	return db, nil
}

// take gets a fresh copy.
func (db *database) take(ctx context.Context, recycle, connect bool) error {
	c, err := db.source.take(ctx, connect)
	if err != nil {
		return fmt.Errorf("copy the template: %w", db.host.gone(ctx, err))
	}
	if c.warm != nil && !connect {
		c.warm.close()
		c.warm = nil
	}
	// From here on no other process may take it for unused. One that is marked already may have
	// been made long ago: that the server still answers is to be seen either way, before the test
	// gets the address of one that has gone.
	mark := ""
	if c.adoptable {
		mark = comment(c.name, usedMark)
	}
	err = db.host.control(context.WithoutCancel(ctx), func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.PgConn().Exec(ctx, mark).ReadAll()
		return err
	})
	if err != nil {
		return fmt.Errorf("mark the database: %w", err)
	}
	db.name, db.warm = c.name, c.warm
	if recycle {
		if db.recycled, err = newRecycled(context.WithoutCancel(ctx), db.host.server.DatabaseURL(c.name),
			c.name); err != nil {
			return fmt.Errorf("prepare recycling: %w", err)
		}
	}
	return nil
}

// end drops the database or keeps it for another test.
func (db *database) end(t TB) error {
	if db.recycled == nil {
		return db.host.drop(db.name)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), adminLimit)
	defer cancel()
	if !t.Failed() {
		// An error of restoring is no matter of the test's: the database goes.
		if ok, err := db.recycled.restore(ctx); err == nil && ok {
			db.source.putRecycled(db.recycled)
			return nil
		}
	}
	db.recycled.conn.Close(ctx)
	return db.host.drop(db.name)
}

// sweepOnce removes what ended processes left, once. On a throw-away server that may take its time:
// a package with a single test would otherwise spend more on it than on its own database.
func (h *host) sweepOnce(ctx context.Context) {
	h.sweeping.Do(func() {
		ctx := context.WithoutCancel(ctx)
		sweep := func() { h.note(h.sweep(ctx)) }
		switch {
		case !h.server.Ephemeral():
			sweep()
		case h.found.Load() > sweepAtOnce:
			go background(sweep)
		default:
			time.AfterFunc(sweepDelay, func() { background(sweep) })
		}
	})
}
