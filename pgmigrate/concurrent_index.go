package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// statementClass is what has to be known of a statement that runs without a transaction.
type statementClass struct {
	idempotent bool   // it may run again, whatever became of it
	atomic     bool   // if the server reports an error, nothing of it is left
	index      string // CREATE or DROP INDEX CONCURRENTLY: its name as written; empty if the server chooses one
	table      string // CREATE INDEX CONCURRENTLY: as written
	drops      bool
	concurrent bool // it waits for others' transactions, and must not give up
}

const identifier = `(?:"(?:[^"]|"")+"|[\pL_][\pL\pN_$]*)`

var (
	createIndex = regexp.MustCompile(`(?is)\Acreate\s+(?:unique\s+)?index\s+concurrently\s+` +
		`(if\s+not\s+exists\s+)?(?:(` +
		identifier + `)\s*)?\bon\s+(?:only\s+)?(` + identifier + `(?:\s*\.\s*` + identifier + `)?)`)
	dropIndex = regexp.MustCompile(`(?is)\Adrop\s+index\s+concurrently\s+(if\s+exists\s+)?(` + identifier +
		`(?:\s*\.\s*` + identifier + `)?)`)
	// What does nothing the second time.
	repeatable = regexp.MustCompile(`(?is)\A(?:set|reset|analyze|vacuum)\b|\Adrop\s+[a-z ]+\s+if\s+exists\s|` +
		`\Acreate\s+(?:table|schema|sequence|extension|(?:unique\s+)?index)\s+if\s+not\s+exists\s|` +
		`\Aalter\s+type\s.*\sadd\s+value\s+if\s+not\s+exists\s`)
	concurrently = regexp.MustCompile(`(?is)\A(?:create|drop|reindex|alter|refresh)\b.*\bconcurrently\b`)
	// What commits more than once.
	severalTransactions = regexp.MustCompile(`(?is)\A(?:call|do|cluster|reindex|begin|start|commit|` +
		`end|rollback|abort|alter\s+table\s.*\sdetach\s)`)
)

// classify looks at a statement as tern sends it.
func classify(sql string) statementClass {
	sql = strings.TrimSpace(withoutComments(sql))
	c := statementClass{
		idempotent: repeatable.MatchString(sql), atomic: !severalTransactions.MatchString(sql),
		concurrent: concurrently.MatchString(sql),
	}
	if match := createIndex.FindStringSubmatch(sql); match != nil {
		c.idempotent, c.atomic = match[1] != "" && match[2] != "", false
		c.index, c.table = match[2], match[3]
	} else if match := dropIndex.FindStringSubmatch(sql); match != nil {
		// A failed one leaves the index: invalid perhaps, but it can be dropped again.
		c.idempotent, c.atomic, c.drops = match[1] != "", true, true
		c.index = match[2]
	}
	return c
}

// withoutComments replaces each comment with a space.
func withoutComments(sql string) string {
	var b strings.Builder
	l := sqlscan.Lexer{SQL: sql}
	for behind := 0; l.Next(); behind = l.End {
		b.WriteString(sql[behind:l.Start])
		if l.Kind == sqlscan.Comment {
			b.WriteByte(' ')
		} else {
			b.WriteString(l.Text())
		}
	}
	return b.String()
}

// prepare returns the qualified name of the index that the statement builds or drops, if it has
// one, and makes room for one that is built.
func (c statementClass) prepare(ctx context.Context, r *run) (index string, err error) {
	if c.index == "" {
		return "", nil
	}
	if index, err = c.qualified(ctx, r.conn); err == nil && index != "" && c.builds() {
		err = r.dropInvalid(ctx, index)
	}
	return index, err
}

// builds reports whether the statement is a concurrent index build whose index has a name.
func (c statementClass) builds() bool { return c.index != "" && !c.drops }

// qualified returns the name of the index with its schema, or "" if the table or the index to drop
// does not exist.
func (c statementClass) qualified(ctx context.Context, conn *pgx.Conn) (string, error) {
	relation := c.table // an index is in its table's schema
	if c.drops {
		relation = c.index
	}
	var schema, name string
	err := conn.QueryRow(ctx, `
select quote_ident(n.nspname), quote_ident(c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = pg_catalog.to_regclass($1)`, pgx.QueryExecModeExec, relation).Scan(&schema, &name)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for %s: %w", relation, err)
	}
	if !c.drops {
		name = c.index
	}
	return schema + "." + name, nil
}

type indexState int

const (
	indexMissing indexState = iota
	indexInvalid
	indexBuilding // by another session
	indexValid
)

// readIndexState reads what became of an index. It asks twice before it calls one invalid: another
// session's build may have come to its end between the catalog and its progress.
func readIndexState(ctx context.Context, conn *pgx.Conn, name string) (indexState, error) {
	state, err := askIndexState(ctx, conn, name)
	if err != nil || state != indexInvalid {
		return state, err
	}
	return askIndexState(ctx, conn, name)
}

// askIndexState knows a build of another role's session, whose progress shows no more than that
// there is one, by the lock that it holds on the table.
func askIndexState(ctx context.Context, conn *pgx.Conn, name string) (indexState, error) {
	var valid, building bool
	err := conn.QueryRow(ctx, `
select i.indisvalid, exists (select from pg_catalog.pg_stat_progress_create_index p
  where p.pid <> pg_backend_pid() and (p.index_relid = i.indexrelid or p.index_relid is null and exists (
    select from pg_catalog.pg_locks l
    where l.pid = p.pid and l.relation = i.indrelid and l.mode = 'ShareUpdateExclusiveLock' and l.granted)))
from pg_catalog.pg_index i where i.indexrelid = pg_catalog.to_regclass($1)`, pgx.QueryExecModeExec,
		name).Scan(&valid, &building)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return indexMissing, nil
	case err != nil:
		return indexMissing, fmt.Errorf("look at index %s: %w", name, err)
	case valid:
		return indexValid, nil
	case building:
		return indexBuilding, nil
	default:
		return indexInvalid, nil
	}
}

// dropInvalid drops what an interrupted build has left behind under the name that is about to be
// built. CREATE INDEX would stumble over it, and with IF NOT EXISTS take it for the index: it is
// never used, and costs every write.
func (r *run) dropInvalid(ctx context.Context, name string) error {
	state, err := readIndexState(ctx, r.conn, name)
	if err != nil || state != indexInvalid {
		return err
	}
	r.m.settings.logger.Warn("dropping the invalid index that an interrupted build has left behind", "index", name)
	if _, err := r.conn.Exec(ctx, "drop index concurrently if exists "+name); err != nil {
		return fmt.Errorf("drop invalid index %s: %w", name, err)
	}
	return nil
}

// checkValid is asked after a build that the server calls a success. With IF NOT EXISTS that is
// also the case if it found somebody else's build that is not ready, or failed.
func (r *run) checkValid(ctx context.Context, name string) error {
	state, err := readIndexState(ctx, r.conn, name)
	if err != nil || state == indexValid {
		return err
	}
	if state == indexBuilding {
		return fmt.Errorf("index %s is being built by another session: run again when it is ready", name)
	}
	return fmt.Errorf("index %s is not valid after its build", name)
}

// invalidIndexes lists the database's invalid indexes. It is advice beside an error: what cannot be
// read is left out.
func invalidIndexes(ctx context.Context, conn *pgx.Conn) []string {
	rows, err := conn.Query(ctx, `
select i.indexrelid::regclass::text
from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
where not i.indisvalid and c.relkind = 'i' order by 1`, pgx.QueryExecModeExec)
	if err != nil {
		return nil
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil
	}
	return names
}
