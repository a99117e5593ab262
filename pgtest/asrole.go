package pgtest

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// AsRole returns a second pool on the database of a pool that [New] made. Its sessions act as role,
// with the settings, such as {"app.tenant": "7"}: for tests of row-level security and of grants.
// The pool is closed when the test ends.
//
// AsRole fails the test if the role does not exist, or if row-level security does not hold for it
// because it is a superuser or has BYPASSRLS.
func AsRole(t TB, pool *pgxpool.Pool, role string, settings map[string]string) *pgxpool.Pool {
	t.Helper()
	cfg := pool.Config()
	database, user := cfg.ConnConfig.Database, cfg.ConnConfig.User
	h := process.hostOf(database)
	if h == nil {
		t.Fatalf("pgtest: AsRole needs a pool that pgtest.New made in this process")
		return nil
	}
	err := h.control(context.WithoutCancel(t.Context()), func(ctx context.Context, conn *pgx.Conn) error {
		return grantRole(ctx, conn, role, user)
	})
	if err != nil {
		t.Fatalf("pgtest: act as role %s: %v", role, err)
		return nil
	}
	maps.Copy(cfg.ConnConfig.RuntimeParams, settings)
	cfg.ConnConfig.RuntimeParams["role"] = role
	return openPool(t, cfg)
}

func grantRole(ctx context.Context, conn *pgx.Conn, role, user string) error {
	var exists, bypasses, member bool
	err := conn.QueryRow(ctx, `select count(*) > 0, coalesce(bool_or(rolsuper or rolbypassrls), false),
			coalesce(bool_or(pg_has_role($2, oid, 'member')), false) from pg_roles where rolname = $1`, role, user).
		Scan(&exists, &bypasses, &member)
	switch {
	case err != nil:
		return err
	case !exists:
		return errors.New("there is no such role: roles belong to the server, and only migrations with " +
			"pgtest.Superuser may create them")
	case bypasses:
		return errors.New("it is a superuser or has BYPASSRLS, so policies do not hold for it")
	case member:
		return nil
	}
	return execEach(ctx, conn, "grant "+quoted(role)+" to "+quoted(user))
}

// hostOf returns the host that made the database, or nil.
func (h *hosts) hostOf(database string) *host {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, known := range h.byEnv {
		if strings.HasPrefix(database, "pgtest_"+known.lease.Token()+"_") {
			return known
		}
	}
	return nil
}
