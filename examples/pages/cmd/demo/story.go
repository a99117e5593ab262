package main

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/examples/pages"
	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgmigrate"
)

// story is the state that its parts share. Each part is a method that does one thing and reports
// it.
type story struct {
	out    io.Writer
	began  time.Time
	part   int
	log    *slog.Logger
	own    bool // the server is thrown away afterwards
	atEnds []func()

	cfg      pgconfig.Config
	migrator *pgmigrate.Migrator
	pool     *pgxpool.Pool
	notified chan published
	content  *pages.Content
	site     db.Site
}

func (s *story) title(text string) {
	s.part++
	fmt.Fprintf(s.out, "\n%2d. %s\n", s.part, text)
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, "    "+format+"\n", args...) }

func (s *story) atEnd(fn func()) { s.atEnds = append(s.atEnds, fn) }

func (s *story) end() {
	for _, fn := range slices.Backward(s.atEnds) {
		fn()
	}
}

// since returns a duration rounded for reading, not for comparing.
func since(t time.Time) time.Duration {
	d := time.Since(t)
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}

func (s *story) farewell() {
	fmt.Fprintf(s.out, "\nDone in %s.", since(s.began))
	if s.own {
		fmt.Fprintf(s.out, " The server stops in a few seconds and leaves nothing behind.\n")
	} else {
		fmt.Fprintf(s.out, " The site is in your database; go tool mage migrate:reset empties a local one.\n")
	}
	fmt.Fprint(s.out, `
Next:
  go tool mage serve            the two services, left running: edit a page and watch the preview change
  go tool mage db:start         a PostgreSQL for development that keeps its data
  go tool mage migrate          its schema; migrate:status and migrate:plan look without touching
  go tool mage test             every test, each on a real database of its own
  examples/pages/pages.go       the transactions you have just seen
`)
}
