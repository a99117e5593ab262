package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/page-builder/persistence/pgmigrate"
)

// progress shows a run: on a terminal one line per migration, redrawn while it runs, and log lines
// elsewhere.
type progress struct {
	log *slog.Logger // nil on a terminal
	w   io.Writer
	now string // the line that is being drawn
}

func (a *app) progress() *progress {
	w := a.stdout
	if a.json {
		w = a.stderr
	}
	if isTerminal(w) {
		return &progress{w: w}
	}
	return &progress{log: a.logger(slog.LevelInfo)}
}

// isTerminal treats all character devices as terminals, except /dev/null.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fi, err := f.Stat()
	if null, nullErr := os.Stat(os.DevNull); nullErr == nil && os.SameFile(fi, null) {
		return false
	}
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}

func (p *progress) event(e pgmigrate.Event) {
	if p.log != nil {
		p.logEvent(e)
		return
	}
	place := e.Name
	if e.Line > 0 {
		place = fmt.Sprintf("%s:%d", e.Name, e.Line)
	}
	line := fmt.Sprintf("%-4s %s ...", e.Direction, place)
	switch e.Kind {
	case pgmigrate.EventWaiting:
		p.draw(fmt.Sprintf("waiting: %v", e.Err))
		p.end()
	case pgmigrate.EventStart, pgmigrate.EventStatement:
		p.draw(line)
	case pgmigrate.EventBuild:
		p.draw(line + " " + phase(e))
	case pgmigrate.EventRetry:
		p.end() // the logger says the rest
	case pgmigrate.EventDone:
		p.draw(line + " " + rounded(e.Duration).String())
		p.end()
	}
}

// draw replaces the line.
func (p *progress) draw(line string) {
	padding := max(len(p.now)-len(line), 0)
	fmt.Fprintf(p.w, "\r%s%s", line, strings.Repeat(" ", padding))
	p.now = line
}

// end ends a line that is still open.
func (p *progress) end() {
	if p.now != "" {
		fmt.Fprintln(p.w)
		p.now = ""
	}
}

func phase(e pgmigrate.Event) string {
	if e.Total <= 0 {
		return e.Phase
	}
	return fmt.Sprintf("%s, %d %%", e.Phase, 100*e.Done/e.Total)
}

func (p *progress) logEvent(e pgmigrate.Event) {
	attrs := []any{"migration", e.Name, "direction", string(e.Direction)}
	if e.Line > 0 {
		attrs = append(attrs, "line", e.Line)
	}
	switch e.Kind {
	case pgmigrate.EventWaiting:
		p.log.Info("waiting", "reason", e.Err)
	case pgmigrate.EventStart:
		p.log.Info("migrating", attrs...)
	case pgmigrate.EventStatement:
		if !e.InTransaction { // there may be thousands
			p.log.Info("statement", attrs...)
		}
	case pgmigrate.EventBuild:
		p.log.Info("building an index", append(attrs, "phase", e.Phase, "done", e.Done, "total", e.Total)...)
	case pgmigrate.EventRetry: // the library logs it
	case pgmigrate.EventDone:
		p.log.Info("migrated", append(attrs, "duration", e.Duration)...)
	}
}
