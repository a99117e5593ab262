package pgtest

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver/lease"
)

// sweep drops what ended processes left, but for a few clones that the next process may want, and
// kept databases before their time. It does not force: a database with a session stays for the next
// sweep.
func (h *host) sweep(ctx context.Context) error {
	unused := 0
	return h.drops.with(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		orphans, err := h.orphans(ctx, conn)
		if err != nil {
			return err
		}
		for _, l := range orphans {
			if l.key != notAdoptable && h.server.Ephemeral() {
				if unused++; unused <= ahead {
					continue
				}
			}
			if since, _, ok := parseKept(l.comment); ok && time.Since(since).Abs() < keepDatabase {
				continue
			}
			if err := dropDatabase(ctx, conn, l.name); err != nil && !missing(err) && !inUse(err) {
				return fmt.Errorf("drop %s: %w", l.name, err)
			}
		}
		for _, query := range []string{listUnfinished, listUsers} {
			found, err := listObjects(ctx, conn, query)
			if err != nil {
				return err
			}
			living, err := h.living(ctx, conn)
			if err != nil {
				return err
			}
			for _, o := range found {
				if o.endedWith(living) {
					_ = o.drop(ctx, conn) // in use, or another process was faster
				}
			}
		}
		return nil
	})
}

// object is a database or role of ours that is no test's database.
type object struct {
	kind, name string
	token      string // of the process that it belongs to, or ""
	project    string // the project's folder
}

const (
	kindUnfinished = "unfinished template"
	kindTemplate   = "template"
	kindRole       = "role"
	kindUser       = "login role"
)

// The names of pgtestdb's databases have no token: they belong to nobody when no process makes a
// template.
const (
	fromOurs = ` from pg_database d join pg_roles r on r.oid = d.datdba where ` + isOurOwner

	listUnfinished = `select '` + kindUnfinished + `', d.datname, '', shobj_description(r.oid, 'pg_authid')` +
		fromOurs + `
		and d.datname ~ '^testdb_tpl_[0-9a-f]+(_inst_[0-9a-f]+)?$'`
	listTemplates = `select '` + kindTemplate + `', d.datname, '', shobj_description(r.oid, 'pg_authid')` + fromOurs + `
		and d.datname ~ '^pgtest_tpl_[0-9a-f]{32}$'`
	listOwners = `select '` + kindRole + `', r.rolname, '', shobj_description(r.oid, 'pg_authid') from pg_roles r
		where ` + isOurOwner
	listUsers = `select '` + kindUser + `', u.rolname, substr(u.rolname, 17, 8),
			coalesce(shobj_description(o.oid, 'pg_authid'), '')
		from (select r.* from pg_roles r where ` + isOurUser + `) u
		left join pg_roles o on o.rolname = substr(u.rolname, 1, 15) || substr(u.rolname, 25)`
)

func listObjects(ctx context.Context, conn *pgx.Conn, query string) ([]object, error) {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (o object, err error) {
		err = row.Scan(&o.kind, &o.name, &o.token, &o.project)
		return o, err
	})
}

// living are the processes that run tests, and those that make templates.
type living struct {
	tests, makers map[string]bool
	own           string // this process's token, which is not in tests
}

func (h *host) living(ctx context.Context, conn *pgx.Conn) (l living, err error) {
	if l.tests, err = lease.Living(ctx, conn, leaseSpace); err == nil {
		l.makers, err = lease.Living(ctx, conn, makersSpace)
	}
	l.own = h.lease.Token()
	delete(l.tests, l.own)
	return l, err
}

// endedWith reports whether no living process can be using the object. Templates and their owners
// are in use while any other process runs tests.
func (o object) endedWith(l living) bool {
	switch o.kind {
	case kindUnfinished:
		return len(l.makers) == 0
	case kindUser:
		return !l.tests[o.token] && o.token != l.own
	default:
		return len(l.tests) == 0
	}
}

func (o object) drop(ctx context.Context, conn *pgx.Conn) error {
	switch o.kind {
	case kindRole, kindUser:
		return execEach(ctx, conn, "drop role "+quoted(o.name))
	default:
		name := quoted(o.name)
		return execEach(ctx, conn, "alter database "+name+" is_template false", "drop database "+name)
	}
}

func dropDatabase(ctx context.Context, conn *pgx.Conn, name string) error {
	return execEach(ctx, conn, "drop database "+quoted(name))
}
