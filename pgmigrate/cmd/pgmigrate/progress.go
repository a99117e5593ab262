package main

import (
	"fmt"
	"io"

	"github.com/page-builder/persistence/pgmigrate"
)

// progress prints a line a migration, begun when the migration begins: the last line of a log says what is running.
type progress struct {
	w    io.Writer
	open bool // the last line has no end yet
}

func (p *progress) event(e pgmigrate.Event) {
	switch e.Kind {
	case pgmigrate.EventWaiting:
		fmt.Fprintf(p.w, "waiting: %v\n", e.Err)
	case pgmigrate.EventStart:
		fmt.Fprintf(p.w, "%-4s %s ... ", e.Direction, e.Name)
		p.open = true
	case pgmigrate.EventStatement:
		p.end()
		if e.Line > 0 {
			fmt.Fprintf(p.w, "     %s:%d ... ", e.Name, e.Line)
			p.open = true
		}
	case pgmigrate.EventRetry:
		p.end() // the logger says the rest
	case pgmigrate.EventDone:
		if !p.open {
			fmt.Fprintf(p.w, "%-4s %s ... ", e.Direction, e.Name)
		}
		fmt.Fprintf(p.w, "%s\n", rounded(e.Duration))
		p.open = false
	}
}

// end ends a line that is still open.
func (p *progress) end() {
	if p.open {
		fmt.Fprintln(p.w)
		p.open = false
	}
}
