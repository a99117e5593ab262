// Package expand writes the files that rename, retype or split a column while two versions of a
// service use it: migrations that add the new columns and keep both in step, a backfill, the
// migrations that switch over, and one that ends it.
package expand

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

// The kinds of change.
const (
	Rename = "rename"
	Type   = "type"
	Split  = "split"
)

// Options say what to change.
type Options struct {
	Kind   string
	Name   string   // of the files, the trigger and the backfill; defaults to table and new column
	Table  string   // as SQL names it
	Column string   // as SQL names it
	To     []string // Rename: the new name. Split: NAME=EXPRESSION for each new column
	Type   string   // the new type
	Using  string   // Type: the new value, from the column. Defaults to a cast
	Back   string   // the old column's value, from the new ones. Type: defaults to a cast
}

// Change is what there is to write.
type Change struct {
	Name       string
	Migrations []Migration // in order
	Backfill   string
	Contract   string   // a migration for later, when nothing uses the old column any more
	Notes      []string // what a person has to look at
}

// Migration is the text of a migration. Its file is named after the change, with the suffix.
type Migration struct{ Suffix, Text string }

// maxName leaves room for a suffix in the names of constraints and triggers.
const maxName = 48

var goodName = regexp.MustCompile(`\A[a-z0-9][a-z0-9_]*\z`)

// Plan reads the table and returns the files. It leaves the database as it is: what it makes to
// find out about the column is temporary and rolled back.
//
// The error says what is in the way, or what PostgreSQL says of the new type or an expression.
func Plan(ctx context.Context, conn *pgx.Conn, opts Options) (*Change, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is to be kept
	p, err := read(ctx, tx, opts)
	if err != nil {
		return nil, err
	}
	return p.change(), nil
}

func (o *Options) check() error {
	wrong := func(text string) error { return fmt.Errorf("--expand %s: %s", o.Kind, text) }
	switch {
	case o.Kind != Rename && o.Kind != Type && o.Kind != Split:
		return wrong("write rename, type or split")
	case o.Table == "" || o.Column == "":
		return wrong("name the table and the column with --table and --column")
	case o.Kind == Type && (o.Type == "" || len(o.To) > 0):
		return wrong("name the new type with --type, and nothing with --to: the column keeps its name")
	case o.Kind != Type && (o.Type != "" || o.Using != ""):
		return wrong("--type and --using belong to --expand type")
	case o.Kind == Rename && (len(o.To) != 1 || o.Back != ""):
		return wrong("name the new column with --to")
	case o.Kind == Split && (len(o.To) == 0 || o.Back == ""):
		return wrong("give each new column as --to NAME=EXPRESSION, and the old value from the new ones as " +
			"--back EXPRESSION")
	}
	return nil
}

// cutColumn splits NAME=EXPRESSION; the name may be quoted.
func cutColumn(text string) (name, expression string) {
	match := regexp.MustCompile(`(?s)\A\s*("(?:[^"]|"")*"|[^"=]*?)\s*=(.*)\z`).FindStringSubmatch(text)
	if match == nil {
		return text, ""
	}
	return match[1], strings.TrimSpace(match[2])
}

// defaultName is the name of the change if none is given.
func defaultName(parts ...string) string {
	name := strings.ToLower(strings.Join(parts, "_"))
	return strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(name, "_"), "_")
}
