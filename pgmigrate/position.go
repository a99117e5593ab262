package pgmigrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// position is the state of a database: tern's version and what the history says about it.
type position struct {
	version  int32
	tracked  bool // there is a version table
	recorded bool // there is a history, and this role may read it
	hidden   bool // there is a history that this role may not read
	marks    []mark
	repeated map[string]string // the checksums of the repeatable migrations that have run, by path
}

// mark is the part of a history entry that every start needs.
type mark struct {
	id       int64
	version  int32
	action   Action
	progress Progress
	checksum string
	name     string
}

// readPosition reads by plain SQL: no lock, no write, one round trip whether or not there is a
// history. tern's own query takes the migration lock and creates the table.
//
// One message of the simple protocol, without aggregates and sorting, is cheapest on a new
// connection. Its statements see several snapshots; a run that finds work reads again under the
// lock.
func (m *Migrator) readPosition(ctx context.Context, conn *pgx.Conn) (position, error) {
	var p position
	sql, first := m.settings.viewsSQL()+m.settings.positionSQL(), 0
	if session.HasTransactionTimeout(conn) {
		// A wait for a lock on the tables ends with lock_timeout, and is tried again.
		sql, first = "set local transaction_timeout = 0; "+sql, -1
	}
	results := conn.PgConn().Exec(ctx, sql)
	p.repeated = map[string]string{}
	var versions []int32
	var scanErr error
	for table := first; results.NextResult(); table++ {
		for reader := results.ResultReader(); reader.NextRow(); {
			var err error
			switch table {
			case 1:
				versions, err = appendVersion(versions, reader.Values())
			case 2:
				err = p.scan(reader.Values())
			case 3:
				p.repeated[string(reader.Values()[0])] = string(reader.Values()[1])
			}
			scanErr = cmp.Or(scanErr, err)
		}
		p.tracked, p.recorded = table >= 1, table >= 2
	}
	err := results.Close()
	var pgErr *pgconn.PgError
	missing := undefinedTable(err)
	denied := errors.As(err, &pgErr) && pgErr.Code == "42501"
	if isView(err) {
		return position{}, m.settings.viewError()
	}
	if missing && !p.tracked {
		return position{}, nil
	}
	if p.tracked && (missing || denied) {
		p.hidden, err = denied, nil
	}
	if err == nil {
		err = scanErr
	}
	if err == nil {
		p.version, err = oneVersion(versions)
	}
	if err != nil {
		return position{}, fmt.Errorf("read version table %s: %w", m.settings.versionTable, err)
	}
	return p, nil
}

// viewsSQL divides by zero if one of this package's tables is a view: reading it could run its
// owner's functions with the rights of the reader. newSettings has checked the names.
func (s *settings) viewsSQL() string {
	schema, table, _ := strings.Cut(s.versionTable, ".")
	return fmt.Sprintf(`select 1 / case when exists (
  select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relname in ('%[2]s', 'history', 'seed', 'repeatable', 'backfill', 'backfill_range')
    and c.relkind in ('v', 'm', 'f')
    and (n.nspname = '%[1]s' and c.relname = '%[2]s' or n.nspname = '%[3]s')) then 0 else 1 end;
`, schema, table, s.historySchema)
}

func isView(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "22012"
}

func (s *settings) viewError() error {
	return fmt.Errorf("check %s and schema %s: a view has replaced a table: drop it", s.versionTable,
		s.historySchema)
}

// refuseViews checks for views where no position is read.
func (m *Migrator) refuseViews(ctx context.Context, conn *pgx.Conn) error {
	err := exec(ctx, conn.PgConn(), m.settings.viewsSQL())
	if isView(err) {
		return m.settings.viewError()
	}
	return err
}

func (s *settings) positionSQL() string {
	sql := fmt.Sprintf(`select version from %[2]s;
select id, version, action, progress, checksum, name from %[1]s.history where version_table = '%[2]s'`,
		s.historySchema, s.versionTable)
	if s.repeatable != nil {
		sql += fmt.Sprintf("; select path, checksum from %s.repeatable where version_table = '%s'", s.historySchema,
			s.versionTable)
	}
	return sql
}

func appendVersion(versions []int32, row [][]byte) ([]int32, error) {
	v, err := strconv.ParseInt(string(row[0]), 10, 32)
	return append(versions, int32(v)), err
}

func (p *position) scan(row [][]byte) error {
	id, err := strconv.ParseInt(string(row[0]), 10, 64)
	version, err2 := strconv.ParseInt(string(row[1]), 10, 32)
	p.marks = append(p.marks, mark{
		id: id, version: int32(version), action: Action(row[2]), progress: Progress(row[3]), checksum: string(row[4]),
		name: string(row[5]),
	})
	return cmp.Or(err, err2)
}

func oneVersion(versions []int32) (int32, error) {
	if len(versions) == 0 {
		return 0, errors.New("it is empty: insert the database's version")
	}
	for _, v := range versions {
		if v != versions[0] {
			return 0, fmt.Errorf("it has %d rows with different versions: keep the true one", len(versions))
		}
	}
	if versions[0] < 0 {
		return 0, fmt.Errorf("version %d is not possible", versions[0])
	}
	return versions[0], nil
}

// last returns the newest mark.
func (p position) last() (newest mark) {
	for _, k := range p.marks {
		if k.id > newest.id {
			newest = k
		}
	}
	return newest
}

// unfinished returns the newest mark if its disable-tx section has not recorded its version. A
// section that has recorded it is done, whatever became of its process afterwards.
func (p position) unfinished() (mark, bool) {
	k := p.last()
	if k.id == 0 || k.progress == ProgressDone {
		return mark{}, false
	}
	reached := p.version >= k.version
	if k.action == ActionDown {
		reached = p.version < k.version
	}
	return k, !reached
}

// applied returns the marks of the applied versions that have one. The version table decides
// whether an interrupted section counts.
func (p position) applied() map[int32]mark {
	newest := make(map[int32]mark, len(p.marks))
	for _, k := range p.marks {
		if k.version >= 1 && k.version <= p.version && k.id > newest[k.version].id {
			newest[k.version] = k
		}
	}
	for version, k := range newest {
		if !k.action.applies() {
			delete(newest, version) // rolled back by us and applied again by tern
		}
	}
	return newest
}
