package pgquery

import (
	"fmt"
	"strings"

	"github.com/page-builder/persistence/pgerr"
)

// DeclarationError says that a declaration cannot work. The method that returns it sent nothing.
// Package pgquerytest reports the same problems in a test, with the line of the declaration.
type DeclarationError struct {
	Name     string   // of the declaration
	Problems []string // each begins with the piece it is about
}

func (e *DeclarationError) Error() string {
	return fmt.Sprintf("pgquery: declaration %q: %s", e.Name, strings.Join(e.Problems, "; "))
}

// Category returns [pgerr.Statement].
func (e *DeclarationError) Category() pgerr.Category { return pgerr.Statement }

// NameError says that a sort or a page size is not declared. Nothing was sent.
type NameError struct {
	List  string
	Kind  string   // "sort" or "size"
	Known []string // what is declared, in order
}

func (e *NameError) Error() string {
	return fmt.Sprintf("pgquery: list %s: unknown %s; declared: %s", e.List, e.Kind, strings.Join(e.Known, ", "))
}

// Category returns [pgerr.Data].
func (e *NameError) Category() pgerr.Category { return pgerr.Data }

// CursorError says that this list did not make the cursor for this sort, or that the cursor was
// altered. Nothing was sent. Reason never quotes the cursor.
type CursorError struct {
	List   string
	Reason string
}

func (e *CursorError) Error() string {
	return fmt.Sprintf("pgquery: list %s: the cursor %s; start at the first page", e.List, e.Reason)
}

// Category returns [pgerr.Data].
func (e *CursorError) Category() pgerr.Category { return pgerr.Data }

// ArgumentError says that an argument is missing, or has a value that the server would refuse.
// Nothing was sent. Reason never quotes the value.
type ArgumentError struct {
	Declaration string
	Argument    string
	Reason      string
}

func (e *ArgumentError) Error() string {
	return fmt.Sprintf("pgquery: %s: argument @%s %s", e.Declaration, e.Argument, e.Reason)
}

// Category returns [pgerr.Data].
func (e *ArgumentError) Category() pgerr.Category { return pgerr.Data }

// ChangedError says that a patch found its row with another version than the caller saw. Nothing
// was changed. A service answers 412 (Precondition Failed), and its client reads the row again.
type ChangedError struct {
	Patch   string
	Version any // what the row has now, as pgx decodes it: int32 for integer
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("pgquery: patch %s: the row was changed since it was read; read it again", e.Patch)
}

// Changed is the category of a [ChangedError]. It is not retryable: the caller has to read the row.
const Changed pgerr.Category = "changed"

// Category returns [Changed].
func (e *ChangedError) Category() pgerr.Category { return Changed }
