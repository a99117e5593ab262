package pgconfig

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgconfig/internal/dsn"
)

// readOn is the page that an error links to.
const readOn = "https://github.com/page-builder/persistence/tree/main/pgconfig#variables"

// Problem is one thing that is wrong with a configuration. It contains no value that might be a
// secret. It names the variable and, where it can, shows a corrected form with the password masked.
type Problem struct {
	// Key is the variable, with the prefix if there is one.
	Key string
	// Detail says what is wrong: a phrase that reads on from Key.
	Detail string
	// Hint says what to do. It may be empty.
	Hint string
}

// String returns the problem on one line.
func (p Problem) String() string {
	if p.Hint == "" {
		return p.Key + " " + p.Detail
	}
	return p.Key + " " + p.Detail + ": " + p.Hint
}

// Error says that a configuration cannot be used. It holds at least one problem. Problems with
// other files and variables come first, then the rest in the order of the table of variables.
type Error struct {
	Problems []Problem
}

// Error returns one line for a single problem. For several it returns a line with their number and
// then one line for each.
func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return "load database configuration: " + e.Problems[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "load database configuration: %d problems", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  ")
		b.WriteString(p.String())
	}
	return b.String()
}

// problems collects the problems found while loading. prefix goes before the names of our
// variables.
type problems struct {
	prefix string
	list   []Problem
	seen   map[Problem]bool
}

// add adds a problem unless it is there already, because a PG* variable may count for several
// connection strings. It adds the prefix to the variables in detail and hint.
func (p *problems) add(key, detail, hint string) {
	found := Problem{Key: addPrefix(p.prefix, key), Detail: p.prefixNames(detail), Hint: p.prefixNames(hint)}
	if p.seen[found] {
		return
	}
	if p.seen == nil {
		p.seen = map[Problem]bool{}
	}
	p.seen[found] = true
	p.list = append(p.list, found)
}

var ownName = regexp.MustCompile(`\b(DIRECT_)?DATABASE_`)

// prefixNames adds the prefix to the variables in a text.
func (p *problems) prefixNames(text string) string {
	return ownName.ReplaceAllString(text, p.prefix+"$0")
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	order := map[string]int{}
	for i, v := range Variables() {
		order[addPrefix(p.prefix, v.Name)] = i + 1
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int { return order[a.Key] - order[b.Key] })
	return &Error{Problems: p.list}
}

// addPrefix adds the prefix to a variable that takes one.
func addPrefix(prefix, key string) string {
	if strings.HasPrefix(key, "DATABASE_") || strings.HasPrefix(key, "DIRECT_") {
		return prefix + key
	}
	return key
}

// addFrom adds a problem with the connection string of a variable.
func (p *problems) addFrom(key string, found dsn.Problem) {
	p.add(key, found.Sentence(), found.Hint)
}

// has reports whether there is a problem with a variable already.
func (p *problems) has(key string) bool {
	return slices.ContainsFunc(p.list, func(one Problem) bool { return one.Key == addPrefix(p.prefix, key) })
}
