package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/peterldowns/pgtestdb"

	"github.com/page-builder/persistence/pgtest/pgserver/lease"
)

// database is one that a test has.
type database struct {
	host *host
	name string
	url  string
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
	if errors.Is(err, lease.ErrLost) { // since the last test; its databases went with it
		db, err = claim(t.Context(), m, o)
	}
	if err != nil {
		t.Fatalf("pgtest: %v", err)
		return nil
	}
	t.Cleanup(func() {
		db.host.running.Add(-1)
		if t.Failed() && o.keeps() {
			if err := db.keep(t); err != nil {
				t.Errorf("pgtest: keep the database: %v", err)
			}
			return
		}
		if err := db.host.drop(db.name); err != nil {
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
	h, err := process.get(context.WithoutCancel(ctx), o.settings)
	if err != nil {
		return nil, err
	}
	h.running.Add(1)
	db, err := h.claim(ctx, m, o)
	if err = h.orGone(ctx, err); err != nil {
		h.running.Add(-1)
	}
	if errors.Is(err, lease.ErrLost) {
		process.forget(h)
	}
	return db, err
}

func (h *host) claim(ctx context.Context, m pgtestdb.Migrator, o options) (*database, error) {
	hash, err := m.Hash()
	if err != nil {
		return nil, fmt.Errorf("hash of the migrations: %w", err)
	}
	r, err := h.rolesFor(context.WithoutCancel(ctx), o.superuser)
	if err != nil {
		return nil, err
	}
	s := h.source(h.templateKey(r, m, hash), r)
	if err := s.prepare(context.WithoutCancel(ctx), m); err != nil {
		return nil, err
	}
	h.sweepOnce(ctx)
	name, err := s.claim(ctx)
	if err != nil {
		return nil, err
	}
	url, err := s.url(name)
	if err != nil {
		return nil, err
	}
	return &database{host: h, name: name, url: url}, nil
}

// templateKey covers all that the template's content depends on.
func (h *host) templateKey(r *roles, m pgtestdb.Migrator, hash string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []string{
		"1", // counts changes of how this package makes templates
		r.owner, h.project.dir, fmt.Sprint(h.base.RuntimeParams), migratorType(m), hash,
	}))
	return hex.EncodeToString(sum[:])
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
