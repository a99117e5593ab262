package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

// ordinary makes a role with nothing but LOGIN and rights on the accounts, and returns its URL.
func (b *bundle) ordinary(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("pgtx_role_%d", rand.Uint64())
	for _, sql := range []string{
		"create role " + name + " login",
		"grant select, update on accounts to " + name,
	} {
		if _, err := b.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := b.pool.Exec(ctx, "drop owned by "+name+"; drop role "+name); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(b.url)
	if err != nil {
		t.Fatal("cannot parse the test database's URL")
	}
	u.User = url.User(name)
	if err := pingAs(t, u.String()); err != nil {
		t.Skipf("a role without a password cannot log in: %v", err)
	}
	return u.String()
}

func pingAs(t *testing.T, url string) error {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		return err
	}
	return conn.Close(t.Context())
}

// Nothing of VerifyCommit needs more than a login: the probe, the question, and the end of a
// backend of the same role.
func TestVerifyCommitAsOrdinaryRole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role := b.ordinary(t)
	spent := 0
	for where, want := range map[fault.Cut]int{fault.BeforeRequest: 2, fault.BeforeAnswer: 1, fault.AbandonRequest: 2} {
		_, pool := cutCommit(t, role, where)
		calls := 0
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second) // also if the backend left behind is not ended
		defer cancel()
		err := pgtx.RunWith(ctx, pool, pgtx.Options{VerifyCommit: true, VerifyTimeout: time.Minute},
			func(ctx context.Context, tx pgx.Tx) error {
				calls++
				return add(ctx, tx, 1, -10)
			})
		if spent += 10; err != nil || calls != want || b.balance(t, 1) != 100-spent {
			t.Errorf("cut %d: error is %v after %d calls, want none after %d", where, err, calls, want)
		}
	}
}

// A role may not end another's backend: what that one left in progress stays unknown.
func TestResolveAsAnotherRole(t *testing.T) {
	needsSession(t)
	t.Parallel()
	b := setup(t)
	met := broken(t, b.url, fault.AbandonRequest)
	other := connect(t, b.ordinary(t))
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second) // to have connected and asked on a busy machine
	defer cancel()
	committed, err := met.Resolve(ctx, other)
	if committed || !errors.Is(err, pgtx.ErrUnresolved) || !strings.Contains(err.Error(), "in progress") {
		t.Errorf("committed is %v, error %v, want ErrUnresolved", committed, err)
	}
	if committed, err := met.Resolve(t.Context(), b.pool); err != nil || committed {
		t.Errorf("as the same role: committed is %v, error %v", committed, err)
	}
}

// A role that may not see what tells the server's runs apart is told so, before anything could be
// lost.
func TestVerifyCommitWithoutTheRights(t *testing.T) {
	needsSession(t)
	t.Parallel()
	for _, sql := range []string{
		"revoke execute on function pg_catalog.pg_stat_get_bgwriter_stat_reset_time() from public",
		"revoke execute on function pg_catalog.pg_current_xact_id() from public",
	} {
		b := setup(t)
		if _, err := b.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		pool := connect(t, b.ordinary(t))
		for first, fn := range firsts {
			if err := pgtx.RunWith(t.Context(), pool, verified, fn); !errors.Is(err, pgtx.ErrVerifyUnsupported) {
				t.Errorf("%s, %s: error is %v, want ErrVerifyUnsupported", sql, first, err)
			}
		}
	}
}
