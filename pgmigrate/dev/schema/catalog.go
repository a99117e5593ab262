package schema

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// catalog holds facts that an archive lacks: the parts of tables, and which object depends on which
// part of another one.
type catalog struct {
	relations   map[uint32]*relation
	columns     map[uint32][]*column // by relation, in their order
	constraints map[uint32]*constraint
	functions   map[uint32]*function
	casts       map[[2]uint32]string // context: i(mplicit), a(ssignment) or e(xplicit)
	types       map[uint32]*typeInfo
	checks      map[uint32][]*constraint // by table
	owners      map[uint32][]node        // columns, by the sequences that they own

	dependents map[node][]node // by the object they depend on, folded
	folds      map[node]node
}

// node is an object of the database, or a column of it if sub is set.
type node struct {
	class, oid uint32
	sub        int32
}

// Object identifiers of PostgreSQL's own catalogs. They are the same in every version.
const (
	classType       = 1247
	classFunction   = 1255
	classRelation   = 1259
	classDefault    = 2604
	classConstraint = 2606
)

type relation struct {
	OID       uint32
	Name      string // quoted, with its schema
	Kind      string
	Partition bool
	Key       string // of a partitioned table
	Type      uint32 // of a typed table
	Parents   []uint32
	Populated bool
	IndexOf   uint32
}

type column struct {
	Relation   uint32
	Number     int32
	Name, Type string // the name is quoted
	TypeOID    uint32
	Modifier   int32
	Collation  string
	NotNull    bool
	Identity   string
	Generated  string
	Default    string
	DefaultOID uint32
	Local      bool
	Inherited  int32

	Storage, TypeStorage string // the column's, and the one that its type has by default
}

type constraint struct {
	OID             uint32
	Name, Kind      string
	Table, Domain   uint32
	Index           uint32
	Definition      string
	IndexDefinition string
	Valid, Local    bool
	Inherited       int32
	Parent          uint32
	ForeignTable    uint32
	Columns         []int16
	ForeignColumns  []int16
	OnPartitioned   bool
}

type function struct {
	OID      uint32
	Head     string // what CREATE OR REPLACE cannot change
	Defaults int32
	Names    []string
}

type typeInfo struct {
	OID, Relation, Element, Base uint32
	RelationKind                 string
	Category                     string
	Kind                         string
}

func readCatalog(ctx context.Context, cfg *pgx.ConnConfig) (*catalog, error) {
	conn, err := pgx.ConnectConfig(ctx, readOnly(cfg))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	c := &catalog{
		relations: map[uint32]*relation{}, columns: map[uint32][]*column{}, constraints: map[uint32]*constraint{},
		functions: map[uint32]*function{}, casts: map[[2]uint32]string{}, types: map[uint32]*typeInfo{},
		checks: map[uint32][]*constraint{}, owners: map[uint32][]node{},
		dependents: map[node][]node{}, folds: map[node]node{},
	}
	if err := c.read(ctx, conn); err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	return c, nil
}

// firstUserOID is the first OID of objects that initdb did not make.
const firstUserOID, fromUser = 16384, "16384"

// fold returns the object that n is created and dropped with. A part of a relation stays separate,
// unless the relation is folded.
func (c *catalog) fold(n node) node {
	for range 4 { // an array of a table's row type
		to, ok := c.folds[node{class: n.class, oid: n.oid}]
		if !ok {
			break
		}
		n = to
	}
	return n
}

func (c *catalog) column(relation uint32, number int32) *column {
	for _, a := range c.columns[relation] {
		if a.Number == number {
			return a
		}
	}
	return nil
}

func (c *catalog) columnNamed(relation uint32, name string) *column {
	for _, a := range c.columns[relation] {
		if a.Name == name {
			return a
		}
	}
	return nil
}
