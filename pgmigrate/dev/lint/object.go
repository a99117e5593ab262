package lint

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// object is a function, a procedure, or a type that does not belong to a relation.
type object struct {
	Kind     string // "function" or "type"
	Schema   string
	Name     string
	Args     []string // types of a function's parameters
	Defaults int      // parameters that have a default, the last ones
	Trigger  bool     // only triggers call it
}

func (o object) String() string {
	if o.Kind == "type" {
		return qualified(o.Schema, o.Name)
	}
	return qualified(o.Schema, o.Name) + "(" + strings.Join(o.Args, ", ") + ")"
}

// answers reports whether this function or type can replace the other for its callers.
func (o object) answers(other object) bool {
	return o.Kind == other.Kind && o.Schema == other.Schema && o.Name == other.Name && len(o.Args) >= len(other.Args) &&
		slices.Equal(o.Args[:len(other.Args)], other.Args) && len(o.Args)-len(other.Args) <= o.Defaults
}

// Extensions and range types bring functions and types of their own, which come and go with them.
const objectsSQL = `
select p.oid, 'function', nspname, proname, array(select format_type(a,
	null) from unnest(proargtypes::oid[]) a), pronargdefaults,
	prorettype in ('trigger'::regtype, 'event_trigger'::regtype)
from pg_proc p join pg_namespace n on n.oid = pronamespace
where p.oid >= 16384 and not exists (select from pg_depend where classid = 'pg_proc'::regclass
	and objid = p.oid and deptype in ('e', 'i'))
union all
select t.oid, 'type', nspname, typname, '{}', 0, false
from pg_type t join pg_namespace n on n.oid = typnamespace
where t.oid >= 16384 and typtype in ('c', 'd', 'e', 'r')
	and not exists (select from pg_class where oid = typrelid and relkind <> 'c')
	and not exists (select from pg_depend where classid = 'pg_type'::regclass and objid = t.oid and deptype = 'e')`

func readObjects(ctx context.Context, conn *pgx.Conn) (map[uint32]object, error) {
	rows, err := conn.Query(ctx, objectsSQL, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, fmt.Errorf("read the catalogs: %w", err)
	}
	found := map[uint32]object{}
	var oid uint32
	var o object
	_, err = pgx.ForEachRow(
		rows,
		[]any{&oid, &o.Kind, &o.Schema, &o.Name, &o.Args, &o.Defaults, &o.Trigger},
		func() error {
			found[oid] = o
			o.Args = nil
			return nil
		},
	)
	if err != nil {
		return nil, fmt.Errorf("read the catalogs: %w", err)
	}
	return found, nil
}

// mayChangeObjects reports whether the statement may drop or rename a function or type.
func (p parsed) mayChangeObjects() bool {
	found := p.opaque || p.kind == ""
	for _, kind := range []string{"DropStmt", "RenameStmt", "AlterObjectSchemaStmt", "DropOwnedStmt"} {
		p.each(kind, func(node) { found = true })
	}
	return found
}

// objectsGone reports functions and types that were dropped or renamed.
func (j *judge) objectsGone() {
	if j.objectsNow == nil {
		return
	}
	for _, oid := range sortedKeys(j.objects) {
		start := j.objects[oid]
		before, was := j.objectsBefore[oid]
		now, is := j.objectsNow[oid]
		if !was || start.Trigger || j.explained("drop-schema", "rename-schema") {
			continue
		}
		// Report it at the end, unless something has the old name by then.
		report := func(rule, message, fix string) {
			statement := j.statement
			j.atEnd = append(j.atEnd, func() {
				for _, final := range j.objectsNow {
					if final.answers(start) {
						return
					}
				}
				j.addAt(statement, rule, message, fix)
			})
		}
		switch {
		case !is:
			report("drop-"+before.Kind, "drops "+before.String(), fmt.Sprintf(
				"First release a version that does not use the %s; then drop it, with the allow comment.", before.Kind))
		case before.Name != now.Name || before.Schema != now.Schema:
			fix := "Make the new function beside the old one; drop the old one when no instance calls it any more."
			if before.Kind == "type" {
				fix = "Keep the name. If it must change, make a new type and move to it column by column."
			}
			report("rename-"+before.Kind, fmt.Sprintf("renames %s to %s", before, now), fix)
		}
	}
}
