package pgquery

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// Batcher is the part of a database that [Load] uses. *pgxpool.Pool, *pgx.Conn and pgx.Tx implement
// it.
type Batcher interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Loader is a pointer to a [Relation] of parents P.
type Loader[P any] interface {
	load(parents []*P) (*job, error)
}

// Relation declares how to read the children of many parents with one query. P is the struct of a
// parent and C the type of a child. K is the type of their common key: an integer, a string or a
// UUID as an array of 16 bytes.
//
// A Relation is safe for concurrent use and must not be changed or copied after its first use.
type Relation[P, C any, K comparable] struct {
	// Name is a word that identifies the relation in traces.
	Name string

	// Select is the statement up to its WHERE. Its columns are the fields of C, one of which holds
	// the key. It has no arguments.
	Select string

	// Key is the expression that is compared with the parents' keys: "r.page_id".
	Key string

	// Where is one more condition, without arguments. Defaults to none.
	Where string

	// Order is the order of the children of a parent, as in [List.Sorts].
	Order string

	// Limit is the maximum number of children of a parent. Defaults to 0, no limit.
	Limit int

	// Parent returns the key of a parent, and false if it has none.
	Parent func(*P) (K, bool)

	// Child returns the key of a child's parent.
	Child func(*C) K

	// Assign gives a parent its children, which may be none. Parents with the same key share them.
	Assign func(*P, []C)

	// Then lists relations of the children, which the next round trip reads. Defaults to none.
	Then []Loader[C]

	once     sync.Once
	relation *relation
}

// relation is a compiled Relation.
type relation struct {
	*compiler
	text *decl.Text
}

// Load reads the relations of the parents and their Then relations, with one round trip for each
// level. It assigns them after it has read everything. On the first use of a text, a connection
// takes one more round trip to prepare it. Without parents nothing is sent.
//
// The levels see changes made between them, unless db is a transaction with REPEATABLE READ.
func Load[P any](ctx context.Context, db Batcher, parents []P, relations ...Loader[P]) error {
	pointers := make([]*P, len(parents))
	for i := range parents {
		pointers[i] = &parents[i]
	}
	level, err := jobs(pointers, relations)
	var assigns []func()
	for len(level) > 0 && err == nil {
		batch := &pgx.Batch{}
		for _, j := range level {
			batch.Queue(j.text.SQL, j.keys)
		}
		results := db.SendBatch(ctx, batch)
		var next []*job
		for _, j := range level {
			rows, failed := results.Query()
			var more []*job
			if failed == nil {
				more, failed = j.read(rows)
			}
			if failed != nil && err == nil {
				err = j.wrap(failed)
			}
			next = append(next, more...)
			assigns = append(assigns, j.assign)
		}
		err = errors.Join(err, results.Close())
		level = next
	}
	if err != nil {
		return err
	}
	for i := range assigns { // the children of children first, because Assign may copy
		assigns[len(assigns)-1-i]()
	}
	return nil
}

// job is a query of a level.
type job struct {
	*relation
	keys   any
	read   func(pgx.Rows) ([]*job, error) // returns the jobs of the next level
	assign func()
}

func jobs[P any](parents []*P, relations []Loader[P]) ([]*job, error) {
	var all []*job
	for _, r := range relations {
		j, err := r.load(parents)
		if err != nil {
			return nil, err
		}
		if j != nil {
			all = append(all, j)
		}
	}
	return all, nil
}

// load returns the query for the parents, or nil if none of them has a key.
func (r *Relation[P, C, K]) load(parents []*P) (*job, error) {
	c, err := r.compiled()
	if err != nil {
		return nil, err
	}
	var keys []K
	children := map[K][]C{}
	for _, p := range parents {
		key, ok := r.Parent(p)
		if _, known := children[key]; !ok || known {
			continue
		}
		if err := c.refuse("key", checkValue(reflect.ValueOf(key), 0)); err != nil {
			return nil, err
		}
		children[key] = []C{}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		for _, p := range parents {
			r.Assign(p, nil)
		}
		return nil, nil
	}
	j := &job{relation: c, keys: keys}
	if array := reflect.ValueOf(keys); isUUID(array.Type().Elem()) {
		j.keys = uuids(array)
	}
	j.read = func(rows pgx.Rows) ([]*job, error) {
		found, err := collect(c.scan, rows, []C(nil))
		for i := range found {
			key := r.Child(&found[i])
			if _, ok := children[key]; !ok {
				return nil, errors.New("a child has the key of no parent: Child returns another column, or the " +
					"server compares keys in its own way, as it does for char(n) and some collations")
			}
			children[key] = append(children[key], found[i])
		}
		if err != nil || len(r.Then) == 0 {
			return nil, err
		}
		var all []*C
		for _, key := range keys {
			for i := range children[key] {
				all = append(all, &children[key][i])
			}
		}
		return jobs(all, r.Then)
	}
	j.assign = func() {
		for _, p := range parents {
			if key, ok := r.Parent(p); ok {
				r.Assign(p, slices.Clip(children[key]))
			} else {
				r.Assign(p, nil)
			}
		}
	}
	return j, nil
}

// parents is the name of the parents' keys in a relation with a limit. The declared text can see
// that name, so declared names must not begin with reservedPrefix.
const parents = `"pgquery.parents"`

// keyTypes maps the Go types of keys to types of the server.
var keyTypes = map[reflect.Kind]string{
	reflect.Int16: "int2", reflect.Int32: "int4", reflect.Int64: "int8", reflect.String: "text", reflect.Array: "uuid",
}

// compiled compiles the declaration once. It returns a *DeclarationError for mistakes.
func (r *Relation[P, C, K]) compiled() (*relation, error) {
	r.once.Do(func() {
		c := newCompiler("Relation", r.Name, reflect.TypeFor[struct{}](), reflect.TypeFor[C]())
		query, key := c.readStatic("Select", r.Select, clauses...), c.readStatic("Key", r.Key, clauses...)
		where := c.readStatic("Where", cmp.Or(r.Where, "true"), clauses...)
		order := c.sort("Order", "", r.Order)
		k := reflect.TypeFor[K]()
		typ, ok := keyTypes[k.Kind()]
		if !ok || k.Kind() == reflect.Array && !isUUID(k) {
			c.fail("key", "%s is not an integer of a fixed size, a string or an array of 16 bytes", k)
		}
		if r.Parent == nil || r.Child == nil || r.Assign == nil {
			c.fail("functions", "Parent, Child and Assign must be set")
		}
		if r.Limit < 0 {
			c.fail("Limit", "is negative")
		}
		c.finish()
		// With a limit each parent is one scan that ends early.
		w := newWriter(r.Name, "many")
		compare, tail := "= any($1::"+typ+"[])", ""
		if r.Limit > 0 {
			w.WriteString("select r.* from unnest($1::" + typ + "[]) with ordinality " + parents +
				` ("pgquery.key", "pgquery.nth") cross join lateral (`)
			compare = "= " + parents + `."pgquery.key"`
			tail = " limit " + strconv.Itoa(r.Limit) + ") r" +
				strings.Replace(order.orderBy("r.", false), " by ", " by "+parents+`."pgquery.nth", `, 1)
		}
		w.WriteString("select * from (")
		w.piece(query)
		w.WriteString(" where (")
		w.piece(key)
		w.WriteString(") " + compare + " and (")
		w.piece(where)
		w.WriteString(")) q" + order.orderBy("q.", false) + tail)
		r.relation = &relation{compiler: c, text: w.end()}
	})
	return r.relation, r.relation.err
}

// Declaration describes the relation to package pgquerytest.
func (r *Relation[P, C, K]) Declaration() *decl.Declaration {
	c, err := r.compiled()
	d := c.describe()
	if err == nil {
		d.Key, d.Text = strings.TrimSpace(r.Key), c.text
	}
	return d
}
