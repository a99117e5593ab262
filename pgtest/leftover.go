package pgtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgtest/pgserver/lease"
)

// object is a database or role that this package made. Its name has our form, and its owner, or the
// role itself, has our mark.
type object struct {
	Kind    string
	Name    string
	Token   string // of the process that made it, in the name; "" for what processes share
	Key     string // of a test's database: what it is a copy of, or notAdoptable
	Project string // the project's folder
	Comment string
	Used    bool // a session is connected
}

const (
	kindDatabase   = "database" // of a test
	kindUnfinished = "unfinished template"
	kindTemplate   = "template"
	kindUser       = "login role"
	kindOwner      = "role"
)

// listObjects lists them in the order in which they can be dropped. pgtestdb names what
// kindUnfinished is.
const listObjects = `
	with owners as (
		select oid, rolname, substr(shobj_description(oid, 'pg_authid'), length('` + ownerMark + `') + 1) as project
		from pg_roles where rolname ~ '^pgtest_[0-9a-f]{8}(_su)?$'
			and starts_with(shobj_description(oid, 'pg_authid'), '` + ownerMark + `')
	), databases as (
		select d.oid, datname, datistemplate, project from pg_database d join owners o on o.oid = datdba
	)
	select kind, name, token, key, project, comment, used from (
		select 1, '` + kindDatabase + `', datname, split_part(datname, '_', 2), split_part(datname, '_', 3), project,
				coalesce(shobj_description(oid, 'pg_database'), ''), pg_stat_get_db_numbackends(oid) > 0
			from databases
			where datname ~ '^pgtest_[0-9a-f]{8}_[0-9a-f]{16}_[0-9a-f]{10}$' and not datistemplate
		union all select 2, '` + kindUnfinished + `', datname, '', '', project, '', false from databases
			where datname ~ '^testdb_tpl_[0-9a-f]+(_inst_[0-9a-f]+)?$'
		union all select 3, '` + kindTemplate + `', datname, '', '', project, '', false from databases
			where datname ~ '^pgtest_tpl_[0-9a-f]{32}$'
		union all select 4, '` + kindUser + `', u.rolname, substr(u.rolname, 17, 8), '', coalesce(project, ''), '',
				false
			from pg_roles u
			left join owners o on o.rolname = substr(u.rolname, 1, 15) || substr(u.rolname, 25)
			where u.rolname ~ '^pgtest_[0-9a-f]{8}_[0-9a-f]{8}(_su)?$'
				and shobj_description(u.oid, 'pg_authid') = '` + userMark + `'
		union all select 5, '` + kindOwner + `', rolname, '', '', project, '', false from owners
	) as o(rank, kind, name, token, key, project, comment, used)
	order by rank, name`

// findObjects lists what this package made, and returns a function that reports whether no living
// process can be using an object. The order matters: a process is alive before it makes anything.
func (h *host) findObjects(ctx context.Context, conn *pgx.Conn) (list []object, isOrphan func(object) bool, err error) {
	rows, err := conn.Query(ctx, listObjects)
	if err == nil {
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[object])
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list databases: %w", err)
	}
	tests, err := lease.Living(ctx, conn, leaseSpace)
	if err != nil {
		return nil, nil, err
	}
	makers, err := lease.Living(ctx, conn, makersSpace)
	if err != nil {
		return nil, nil, err
	}
	return list, func(o object) bool {
		switch o.Kind {
		case kindUnfinished:
			return len(makers) == 0
		case kindDatabase, kindUser:
			return !tests[o.Token]
		}
		// Any process may use templates and owners. This one is in tests.
		return len(tests) == 1 && tests[h.lease.Token()]
	}, nil
}

func (o object) drop(ctx context.Context, conn *pgx.Conn) error {
	name := quoted(o.Name)
	switch o.Kind {
	case kindUser, kindOwner:
		return execEach(ctx, conn, "drop role "+name)
	case kindDatabase:
		return execEach(ctx, conn, "drop database "+name)
	default:
		return execEach(ctx, conn, "alter database "+name+" is_template false", "drop database "+name)
	}
}

// sweep drops what ended processes left. It keeps a few copies that the next process may take over,
// and kept databases before their time. It does not force: a database with a session stays for the
// next sweep.
func (h *host) sweep(ctx context.Context) error {
	unused := 0
	return h.drops.with(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		list, isOrphan, err := h.findObjects(ctx, conn)
		if err != nil {
			return err
		}
		for _, o := range list {
			if o.Kind == kindTemplate || o.Kind == kindOwner || !isOrphan(o) {
				continue
			}
			if o.Kind == kindDatabase && o.Key != notAdoptable && h.server.Ephemeral() {
				if unused++; unused <= ahead {
					continue
				}
			}
			if since, _, ok := parseKept(o.Comment); ok && time.Since(since).Abs() < keepDatabase {
				continue
			}
			if err := o.drop(ctx, conn); err != nil && o.Kind == kindDatabase && !isGone(err) && !inUse(err) {
				return fmt.Errorf("drop %s: %w", o.Name, err)
			}
		}
		return nil
	})
}

// isGone reports whether the database or role does not exist: another process was faster.
func isGone(err error) bool { return hasCode(err, "3D000") || hasCode(err, "42704") }

func inUse(err error) bool { return hasCode(err, "55006") }

func hasCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}
