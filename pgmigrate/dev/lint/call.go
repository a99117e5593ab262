package lint

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// calledSQL takes the names of functions. A function with a body in SQL's own syntax has it in its
// definition, others have theirs in prosrc.
const calledSQL = `
select l.lanname, pg_get_functiondef(p.oid), p.prosrc from pg_proc p join pg_language l on l.oid = p.prolang
where p.oid >= 16384 and p.prokind in ('f', 'p') and p.proname = any($1)`

// withCalls adds the statements of the functions that the statement calls, directly or through
// other functions. It does not follow triggers.
func (s *session) withCalls(ctx context.Context, p parsed) (parsed, error) {
	if !p.runsQueries() {
		return p, nil
	}
	p.body = slices.Clone(p.body)
	known := map[string]bool{}
	for unread := p.all(); len(unread) > 0; {
		called := map[string]bool{}
		for _, statement := range unread {
			each(map[string]any{statement.kind: map[string]any(statement.node)}, "FuncCall", func(n node) {
				name := lastName(n.list("funcname"))
				if !known[name] {
					called[name], known[name] = true, true
				}
			})
			if name := lastName(statement.node.node("funccall").list("funcname")); name != "" && !known[name] {
				called[name], known[name] = true, true
			}
		}
		unread = nil
		if len(called) == 0 {
			break
		}
		rows, err := s.conn.Query(ctx, calledSQL, pgx.QueryExecModeSimpleProtocol, slices.Sorted(maps.Keys(called)))
		if err != nil {
			return p, fmt.Errorf("read called functions: %w", err)
		}
		var language, definition, source string
		_, err = pgx.ForEachRow(rows, []any{&language, &definition, &source}, func() error {
			switch language {
			case "sql":
				unread = append(append(unread, parseOne(definition)), parseAll(source)...)
			case "plpgsql":
				body, opaque := parseBody(definition)
				unread = append(unread, body...)
				p.opaque = p.opaque || opaque
			case "c", "internal":
			default:
				p.opaque = true
			}
			return nil
		})
		if err != nil {
			return p, fmt.Errorf("read called functions: %w", err)
		}
		p.body = append(p.body, unread...)
	}
	return p, nil
}

// lastName returns the last part of a name in a parse tree.
func lastName(parts []any) string {
	if len(parts) == 0 {
		return ""
	}
	return asNode(parts[len(parts)-1]).node("String").text("sval")
}
