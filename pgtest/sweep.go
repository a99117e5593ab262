package pgtest

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// sweep drops what ended processes left, but for a few clones that the next process may want, and
// kept databases before their time. It does not force: a database that somebody is connected to
// stays for the next sweep.
func (h *host) sweep(ctx context.Context) error {
	unused := 0
	return h.drops.with(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		err := h.orphans(ctx, conn, func(l leftover) error {
			if l.adoptable() {
				if unused++; unused <= ahead && h.server.Ephemeral() {
					return nil
				}
			}
			if since, _, ok := parseKept(l.mark); ok && time.Since(since) < keepDatabase {
				return nil
			}
			_, err := dropUnused(ctx, conn, l.name)
			return err
		})
		if err != nil {
			return err
		}
		_, err = h.dropInstances(ctx, conn)
		return err
	})
}

// clean drops all that no living process may use.
func (h *host) clean(ctx context.Context) (dropped []string, err error) {
	// The lock that says that we are a test process would hide that there is no other.
	h.ownerMu.Lock()
	_, err = h.owner.Exec(ctx, "select pg_advisory_unlock_shared($1)", lockKey(living))
	h.ownerMu.Unlock()
	if err != nil {
		return nil, err
	}
	err = h.drops.with(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		err := h.orphans(ctx, conn, func(l leftover) error {
			ok, err := dropUnused(ctx, conn, l.name)
			if ok {
				dropped = append(dropped, l.name)
			}
			return err
		})
		if err != nil {
			return err
		}
		instances, err := h.dropInstances(ctx, conn)
		dropped = append(dropped, instances...)
		if err != nil {
			return err
		}
		templates, err := h.dropTemplates(ctx, conn)
		dropped = append(dropped, templates...)
		if err != nil {
			return err
		}
		roles, err := h.dropRoles(ctx, conn)
		dropped = append(dropped, roles...)
		return err
	})
	return dropped, err
}

// Advisory locks that are not a process's token.
const (
	living = "living" // shared by every test process: templates and roles are in use
	making = "making" // shared while pgtestdb makes a template and an instance that bears no token yet
)

// dropInstances drops the instances of pgtestdb's whose process was killed before it gave them a
// name of ours.
func (h *host) dropInstances(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	return dropUnderLock(ctx, conn, making, `select datname from pg_database d join pg_roles r on r.oid = d.datdba
		where datname ~ '^testdb_tpl_[0-9a-f]+_inst_[0-9a-f]+$' and not datistemplate and `+roleIsOurs+`
			and not exists (select from pg_stat_activity a where a.datname = d.datname)`, dropUnused)
}

// dropTemplates also drops templates that were never finished.
func (h *host) dropTemplates(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	return dropUnderLock(ctx, conn, living, `select datname from pg_database d join pg_roles r on r.oid = d.datdba
		where datname ~ '^testdb_tpl_[0-9a-f]+$' and `+roleIsOurs+`
			and not exists (select from pg_stat_activity a where a.datname = d.datname)`,
		func(ctx context.Context, conn *pgx.Conn, name string) (bool, error) {
			// PostgreSQL refuses to drop a template.
			if _, err := conn.Exec(ctx, "alter database "+quoted(name)+" is_template false"); err != nil {
				return false, err
			}
			return dropUnused(ctx, conn, name)
		})
}

// dropRoles drops those that own nothing any more. PostgreSQL refuses where one has something that
// this cannot see.
func (h *host) dropRoles(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	return dropUnderLock(ctx, conn, living, `select rolname from pg_roles r where `+roleIsOurs+`
			and not exists (select from pg_database where datdba = r.oid)
			and not exists (select from pg_stat_activity where usesysid = r.oid)`,
		func(ctx context.Context, conn *pgx.Conn, name string) (bool, error) {
			_, err := conn.Exec(ctx, "drop role "+quoted(name))
			if hasCode(err, "2BP01") || hasCode(err, "42704") { // dependent objects; dropped by somebody else
				return false, nil
			}
			return err == nil, err
		})
}

// dropUnderLock drops what the query lists if nobody else holds the lock.
func dropUnderLock(
	ctx context.Context, conn *pgx.Conn, lock, query string,
	drop func(context.Context, *pgx.Conn, string) (bool, error),
) (dropped []string, err error) {
	var got bool
	if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1)", lockKey(lock)).Scan(&got); err != nil || !got {
		return nil, err
	}
	defer func() { // it goes with the session at the latest
		_, _ = conn.Exec(ctx, "select pg_advisory_unlock($1)", lockKey(lock))
	}()
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		ok, err := drop(ctx, conn, name)
		if err != nil {
			return dropped, err
		}
		if ok {
			dropped = append(dropped, name)
		}
	}
	return dropped, nil
}

// dropUnused reports whether the database was dropped: another process may have been faster, or be
// connected.
func dropUnused(ctx context.Context, conn *pgx.Conn, name string) (bool, error) {
	_, err := conn.Exec(ctx, "drop database "+quoted(name))
	if missing(err) || inUse(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("drop %s: %w", name, err)
	}
	return true, nil
}
