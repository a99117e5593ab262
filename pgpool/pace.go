package pgpool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool/internal/dial"
)

// pace limits how often a pool tries to connect while that fails. pgxpool starts a connect for each
// caller at once, and each costs the server a process: 100 pools that serve 100 requests a second
// are 10,000 processes a second, more than a server can start.
//
// pace lets one connect at a time through, after a random wait of at most startupBase, doubled for
// each failure up to startupCap. A caller that waited for its turn gets the error of the connect
// that failed meanwhile, which is as new as its own would be.
type pace struct {
	mu       sync.Mutex
	most     time.Duration // upper end of the wait; 0: the last connect worked
	next     time.Time     // when the next connect may start
	failures int
	err      error // the last one
}

// wait returns when it is time to connect, or with the error of a connect that failed meanwhile, or
// ctx's.
func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for failures := p.failures; p.most > 0; {
		if p.failures != failures {
			return p.err
		}
		left := time.Until(p.next)
		if left <= 0 {
			p.next = time.Now().Add(rand.N(p.most)) // when the next one may start, should this one hang
			return nil
		}
		p.mu.Unlock()
		err := dial.Sleep(ctx, left)
		p.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// ended records how a connect ended. An error that waiting does not fix, such as a wrong password,
// changes nothing.
func (p *pace) ended(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.most, p.err = 0, nil
	case pgerr.Startup(err):
		p.most = min(max(2*p.most, startupBase), startupCap)
		p.next = time.Now().Add(rand.N(p.most))
		p.failures++
		p.err = err
	}
}

// hookBeforeConnect waits, and then asks for the password, which could be outdated after a wait.
// The caller's hook runs last and may overwrite the password.
func (o *observer) hookBeforeConnect(cfg *pgxpool.Config) {
	next, limit := cfg.BeforeConnect, cfg.ConnConfig.ConnectTimeout
	cfg.BeforeConnect = func(ctx context.Context, connConfig *pgx.ConnConfig) error {
		if c := o.acquireOf(ctx); c != nil {
			c.enter(connecting)
			if err := o.pace.wait(ctx); err != nil {
				if hint := o.hint(pgerr.Of(err)); hint != "" {
					return fmt.Errorf("%w: %s", err, hint)
				}
				return err
			}
		}
		if err := o.settings.Password.Set(ctx, connConfig, limit); err != nil {
			return err
		}
		if next != nil {
			if err := next(ctx, connConfig); err != nil {
				return err
			}
		}
		limitDial(connConfig) // here and not in the pool's Config, which others copy
		return nil
	}
}
