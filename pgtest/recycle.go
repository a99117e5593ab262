package pgtest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// recycledIdle is how many recycled databases stay when none was given back for recycledRest.
	recycledIdle = 8
	recycledRest = 2 * time.Second
	// recycledUses: DELETE leaves dead rows behind, and nothing vacuums.
	recycledUses = 100
	// recycledWait is how long the backends of a closed pool may take to exit. They need
	// milliseconds, on a busy machine much longer; who leaks a connection has failed already, and
	// does not wait.
	recycledWait = 2 * time.Second
)

// recycled is a database whose rows can be restored, with a connection kept to do so.
type recycled struct {
	name string
	conn *pgx.Conn
	uses int
	// What it was like as a copy.
	catalog   string
	filled    map[string]string // tables that had rows, and the digest of those
	empty     []string
	sequences []sequence
}

type sequence struct {
	name   string
	last   int64
	called bool
}

// newRecycled looks at a fresh copy. A nil result means that its rows cannot be restored.
func newRecycled(ctx context.Context, url, name string) (*recycled, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	r := &recycled{name: name, conn: conn, filled: map[string]string{}}
	ok, err := r.study(ctx)
	if err != nil || !ok {
		conn.Close(ctx)
		return nil, err
	}
	return r, nil
}

// study reports whether restoring is possible: triggers that fire for the restoring session too,
// and rules, could change anything.
func (r *recycled) study(ctx context.Context) (bool, error) {
	// Foreign keys and triggers are no matter for rows that all go.
	if _, err := r.conn.Exec(ctx, "set session_replication_role = replica"); err != nil {
		return false, err
	}
	var forbidden bool
	err := r.conn.QueryRow(ctx, `select exists (select from pg_trigger where tgenabled in ('A', 'R'))
		or exists (select from pg_rewrite w join pg_class c on c.oid = w.ev_class where c.oid >= 16384
			and c.relkind in ('r', 'p'))
		or exists (select from pg_class where oid >= 16384 and relkind in ('f', 'm'))`).Scan(&forbidden)
	if err != nil || forbidden {
		return false, err
	}
	if r.catalog, err = r.fingerprint(ctx); err != nil {
		return false, err
	}
	tables, err := r.names(ctx, "r")
	if err != nil {
		return false, err
	}
	for _, table := range tables {
		digest, err := r.digest(ctx, table)
		if err != nil {
			return false, err
		}
		if digest == "" {
			r.empty = append(r.empty, table)
		} else {
			r.filled[table] = digest
		}
	}
	seqs, err := r.names(ctx, "S")
	if err != nil {
		return false, err
	}
	for _, name := range seqs {
		s := sequence{name: name}
		if err := r.conn.QueryRow(ctx, "select last_value, is_called from "+name).Scan(&s.last, &s.called); err != nil {
			return false, err
		}
		r.sequences = append(r.sequences, s)
	}
	return true, nil
}

// restore undoes what a test did to the rows. It reports false if the test did more than that, or
// somebody is still connected: the database must go then.
func (r *recycled) restore(ctx context.Context) (bool, error) {
	if r.uses++; r.uses >= recycledUses {
		return false, nil
	}
	alone := false
	for deadline := time.Now().Add(recycledWait); !alone && time.Now().Before(deadline); {
		err := r.conn.QueryRow(ctx,
			`select not exists (select from pg_stat_activity where datname = current_database()
				and pid <> pg_backend_pid())
			and not exists (select from pg_prepared_xacts where database = current_database())`).Scan(&alone)
		if err != nil {
			return false, err
		}
		if !alone {
			time.Sleep(2 * time.Millisecond) // backends of a closed pool take that long to exit
		}
	}
	if !alone {
		return false, nil
	}
	catalog, err := r.fingerprint(ctx)
	if err != nil || catalog != r.catalog {
		return false, err
	}
	for table, digest := range r.filled {
		now, err := r.digest(ctx, table)
		if err != nil || now != digest {
			return false, err
		}
	}
	var b strings.Builder
	for _, table := range r.empty {
		fmt.Fprintf(&b, "delete from %s;\n", table)
	}
	for _, s := range r.sequences {
		fmt.Fprintf(&b, "select setval('%s', %d, %t);\n", strings.ReplaceAll(s.name, "'", "''"), s.last, s.called)
	}
	_, err = r.conn.PgConn().Exec(ctx, b.String()).ReadAll()
	return err == nil, err
}

// fingerprint changes with every row of the system catalog that belongs to the database's own
// objects: a changed row has another xmin or place. TRUNCATE changes it too.
func (r *recycled) fingerprint(ctx context.Context) (print string, err error) {
	var b strings.Builder
	for _, c := range []struct{ table, column string }{
		{"pg_class", "oid"},
		{"pg_attribute", "attrelid"},
		{"pg_attrdef", "oid"},
		{"pg_constraint", "oid"},
		{"pg_index", "indexrelid"},
		{"pg_proc", "oid"},
		{"pg_type", "oid"},
		{"pg_enum", "oid"},
		{"pg_trigger", "oid"},
		{"pg_policy", "oid"},
		{"pg_rewrite", "oid"},
		{"pg_operator", "oid"},
		{"pg_cast", "oid"},
		{"pg_inherits", "inhrelid"},
		{"pg_description", "objoid"},
		{"pg_extension", "oid"},
		{"pg_default_acl", "oid"},
		{"pg_statistic_ext", "oid"},
		{"pg_sequence", "seqrelid"},
		{"pg_ts_config", "oid"},
		{"pg_collation", "oid"},
	} {
		fmt.Fprintf(&b, "select '%s' as c, xmin::text as x, ctid::text as i from %[1]s where %s >= 16384 union all ",
			c.table, c.column)
	}
	err = r.conn.QueryRow(ctx,
		`select md5(coalesce(string_agg(c || x || i, ' ' order by c, i), '')) from (`+b.String()+`
		select 'n', xmin::text, ctid::text from pg_namespace where nspname !~ '^pg_(toast_)?temp_' union all
		select 'd', xmin::text, ctid::text from pg_database where datname = current_database() union all
		select 's', xmin::text, ctid::text from pg_db_role_setting where setdatabase = (select oid from pg_database
			where datname = current_database())
		union all select 'l', xmin::text, ctid::text from pg_largeobject_metadata) t`).Scan(&print)
	return print, err
}

// names lists relations, quoted and with their schema.
func (r *recycled) names(ctx context.Context, kind string) ([]string, error) {
	rows, err := r.conn.Query(ctx,
		`select format('%I.%I', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace
		where c.oid >= 16384 and relkind = $1::"char" and nspname !~ '^pg_' order by 1`, kind)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// digest is "" for a table without rows.
func (r *recycled) digest(ctx context.Context, table string) (digest string, err error) {
	err = r.conn.QueryRow(ctx, "select coalesce(md5(string_agg(t::text, E'\\n' order by t::text)), '') from only "+
		table+" t").Scan(&digest)
	return digest, err
}

// takeRecycled returns nil if there is none.
func (s *source) takeRecycled(ctx context.Context) *recycled {
	s.mu.Lock()
	n := len(s.recycled)
	if n == 0 {
		s.mu.Unlock()
		return nil
	}
	r := s.recycled[n-1]
	s.recycled = s.recycled[:n-1]
	s.mu.Unlock()
	if r.conn.Ping(ctx) != nil { // the server has gone, and the database with it, or somebody ended the connection
		r.conn.Close(ctx)
		s.host.note(s.host.drop(r.name))
		return nil
	}
	return r
}

// putRecycled keeps a database for the next test. There are never more than tests ran at a time;
// what nobody takes for a while goes.
func (s *source) putRecycled(r *recycled) {
	s.mu.Lock()
	s.recycled = append(s.recycled, r)
	s.lastPut = time.Now()
	many := len(s.recycled) > recycledIdle
	s.mu.Unlock()
	if many {
		time.AfterFunc(recycledRest, func() { background(s.trimRecycled) })
	}
}

func (s *source) trimRecycled() {
	s.mu.Lock()
	var rest []*recycled
	if time.Since(s.lastPut) >= recycledRest && len(s.recycled) > recycledIdle {
		rest = s.recycled[recycledIdle:]
		s.recycled = s.recycled[:recycledIdle:recycledIdle]
	}
	s.mu.Unlock()
	for _, r := range rest {
		r.conn.Close(context.Background())
		s.host.note(s.host.drop(r.name))
	}
}
