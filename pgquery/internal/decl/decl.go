// Package decl describes declarations to package pgquerytest.
package decl

import "reflect"

// Problem is a mistake that a declaration shows without a database.
type Problem struct {
	Piece string // where it is: "Where", "Filters[state]"
	Text  string
}

// Declaration is a list, a patch, a relation or an insert.
type Declaration struct {
	Kind     string // "List", "Patch", "Relation" or "Insert"
	Name     string
	Problems []Problem // the other fields mean nothing if there is one
	Args     []Argument
	Row      []Column
	Named    func(column string) int // returns the element of Row that takes a column, or -1
	List     *List
	Patch    *Patch
	Insert   *Insert
	Text     *Text  // the only text of a relation or an insert
	Key      string // the expression that a relation compares, which is not null then
}

// Argument is a field of the argument struct.
type Argument struct {
	Name string
	Type reflect.Type // without the pointer or the Optional
}

// Column is a field of the row struct.
type Column struct {
	Name     string
	Type     reflect.Type // without the pointer
	Nullable bool
	Embedded bool // in a struct behind a pointer, which is nil if all its columns are null
}

// Text is an SQL text with its parameters.
type Text struct {
	SQL    string
	With   string // the text between WITH and SELECT, if any
	Params []Param
	Ranges []Range // the conditions of the keyset, one for each part of the UNION ALL
}

// Param is an argument or a column of the sort. The other number is negative.
type Param struct{ Arg, Key int }

// Range is the parameters that bound one part of the rows, and the columns that are null in it.
type Range struct {
	Params []int // numbered from 1
	Nulls  []string
}

// List holds the fields that a list adds to a Declaration.
type List struct {
	Filters []string
	Sorts   []Sort
	Open    bool
	Guarded bool // Where has an argument
	Signed  bool // cursors are
	Text    func(Variant) *Text
	Count   int // of texts
}

// Sort is an order.
type Sort struct {
	Name string
	Keys []Key
}

// Key is a column of a sort.
type Key struct {
	Column   string
	Type     reflect.Type
	Nullable bool
}

// Variant names a text of a list.
type Variant struct {
	Filters    uint64 // which are on
	Nulls      uint64 // which columns of the sort are null in the cursor
	Sort, Size int
	Keyset     bool // there is a cursor
	Backward   bool
	Count      bool
	Probe      bool // the rows without an order, with arguments that are columns of "pgquery.probe"
	Each       bool // each use of an argument has a parameter of its own, for package pgquerytest
}

// Patch holds the fields that a patch adds to a Declaration.
type Patch struct {
	Table    string
	Columns  []string // that it may set
	NotNull  []bool   // whether the field of a column refuses null
	Version  string
	Rows     *Text // those that Where finds, with arguments as in a Variant with Probe
	Text     func(columns uint64) *Text
	Conflict *Text // reads the version of a row that was not updated
}

// Insert holds the fields that an insert adds to a Declaration.
type Insert struct {
	Table   string
	Columns []Column // with the fields' types
}
