package pgpool

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/page-builder/persistence/pgerr"
)

// types registers types of the database with each connection. It looks them up once, and again
// after a connection was lost: after a failover they may differ.
type types struct {
	names []string
	log   *throttle

	mu    sync.Mutex
	known []*pgtype.Type // nil: look them up
}

func (t *types) register(ctx context.Context, conn *pgx.Conn) error {
	if len(t.names) == 0 {
		return nil
	}
	t.mu.Lock()
	known := t.known
	t.mu.Unlock()
	if known != nil {
		conn.TypeMap().RegisterTypes(known)
		return nil
	}
	known, err := loadTypes(ctx, conn, t.names)
	if err != nil && (ctx.Value(startupKey{}) != nil || conn.IsClosed()) {
		return err
	}
	if err != nil { // a migration may have dropped a type that this program no longer uses
		t.log.failure(ctx, "cannot register all types", pgerr.Of(err), err, "")
	}
	t.mu.Lock()
	t.known = known
	t.mu.Unlock()
	return nil
}

func (t *types) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known = nil
}

// typesSQL resolves names as the server does, with the search path. An array stands for its
// elements. typarray is 0 for a type without arrays.
const typesSQL = `select n.name, t.oid, t.typtype::text, t.typname, s.nspname || '.' || t.typname,
	a.oid, sa.nspname || '.' || a.typname, a.typdelim::text
	from unnest($1::text[]) with ordinality n (name, place)
	left join pg_type r on r.oid = to_regtype(n.name)
	left join pg_type t on t.oid = case when r.typcategory = 'A' and r.typelem <> 0 then r.typelem else r.oid end
	left join pg_namespace s on s.oid = t.typnamespace
	left join pg_type a on a.oid = t.typarray
	left join pg_namespace sa on sa.oid = a.typnamespace
	order by n.place`

// loadTypes registers the types with conn, and returns them for other connections. Types that pgx
// knows stay as they are. With an error it returns those that it could register.
func loadTypes(ctx context.Context, conn *pgx.Conn, names []string) ([]*pgtype.Type, error) {
	type found struct {
		Name                string
		OID                 *uint32
		Kind, Type, Path    *string
		Array               *uint32
		ArrayPath, ArrayEnd *string
	}
	rows, err := conn.Query(ctx, typesSQL, pgx.QueryExecModeExec, names)
	if err != nil {
		return nil, fmt.Errorf("look up types: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[found])
	if err != nil {
		return nil, fmt.Errorf("look up types: %w", err)
	}
	known := []*pgtype.Type{} // not nil: it has been looked up
	var derived []string
	for _, t := range all {
		if t.OID == nil {
			err = fmt.Errorf("look up types: there is no type %q: create it first, or name its schema", t.Name)
			continue
		}
		if _, ok := conn.TypeMap().TypeForOID(*t.OID); ok {
			continue
		}
		if *t.Kind != "b" {
			derived = append(derived, *t.Path)
			if t.ArrayPath != nil {
				derived = append(derived, *t.ArrayPath)
			}
			continue
		}
		element := baseType(*t.Type, *t.OID)
		known = append(known, element)
		if t.Array != nil {
			known = append(known, &pgtype.Type{
				Name: "_" + *t.Type, OID: *t.Array,
				Codec: &pgtype.ArrayCodec{ElementType: element, Delimiter: (*t.ArrayEnd)[0]},
			})
		}
	}
	conn.TypeMap().RegisterTypes(known)
	if len(derived) > 0 {
		more, failed := conn.LoadTypes(ctx, derived) // it registers them
		if failed != nil {
			err = fmt.Errorf("look up types: %w: name the types that it is made of too", failed)
		}
		known = append(known, more...)
	}
	return known, err
}

// baseType returns a type that an extension defines. pgx has codecs for some; the others are
// exchanged as the text that psql shows.
func baseType(name string, oid uint32) *pgtype.Type {
	t := &pgtype.Type{Name: name, OID: oid}
	switch name {
	case "hstore":
		t.Codec = pgtype.HstoreCodec{}
	case "ltree":
		t.Codec = pgtype.LtreeCodec{}
	default:
		t.Codec = &pgtype.TextFormatOnlyCodec{Codec: pgtype.TextCodec{}}
	}
	return t
}
