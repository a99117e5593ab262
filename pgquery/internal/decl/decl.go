// Package decl describes a declaration to package pgquerytest: what it says, and each text that it
// may send.
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
	// Named returns the element of Row that takes a column of the result, or -1.
	Named func(column string) int
	// IsArgument reports whether SQL may call the argument by that name.
	IsArgument func(argument, name string) bool
	List       *List
	Patch      *Patch
	Text       *Text  // of a relation or an insert
	Key        string // the expression that a relation compares, which is not null then
}

// Argument is a field of the argument struct.
type Argument struct {
	Name string
	Type reflect.Type // without the pointer or the Optional
	// NotNull reports a field of a patch that refuses null.
	NotNull bool
}

// Column is a field of the row struct.
type Column struct {
	Name     string
	Type     reflect.Type // without the pointer
	Nullable bool
	Embedded bool // in a struct behind a pointer, which is nil if all its columns are null
}

// Key is a column of a sort.
type Key struct {
	Column   string
	Type     reflect.Type
	Nullable bool
}

// List is what a list adds to a Declaration.
type List struct {
	Filters []string
	Sorts   []string
	Sizes   []int
	Open    bool
	Guarded bool // Where has an argument
	Signed  bool // cursors are
	Keys    func(sort string) []Key
	Text    func(Variant) Text
	Texts   int // how many there are
}

// Variant names a text of a list.
type Variant struct {
	Filters  []string
	Sort     string
	Keyset   bool // there is a cursor
	Backward bool
	Nulls    uint64 // which columns of the sort are null in the cursor
	Count    bool
	// Each numbers every use of an argument by itself, which no text that is sent does.
	Each bool
}

// Text is an SQL text and what its parameters are.
type Text struct {
	SQL    string
	Params []Param
	// Ranges are the conditions of the keyset, one for each part of the UNION ALL.
	Ranges []Range
}

// Param is an argument, or a column of the sort if Argument is empty.
type Param struct {
	Argument string
	Key      string
}

// Range is the parameters that bound one part of the rows, and the columns that are null in it.
type Range struct {
	Params []int // numbered from 1
	Nulls  []string
}

// Patch is what a patch adds to a Declaration.
type Patch struct {
	Table    string
	Columns  []string // that it may set
	Version  string
	Equals   []string // the columns that Where compares with an argument
	Text     func(columns []string) Text
	Conflict Text // reads the version of a row that was not updated
}
