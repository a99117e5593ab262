// Package diff makes tern migrations from a schema that somebody edited.
//
// The wanted schema is SQL that creates it on an empty database. One shadow database runs that SQL,
// another one the migrations, and the difference becomes one or more migrations. Before Make
// returns the files, it applies them to a shadow and compares it with the wanted schema. Then it
// rolls them back and compares the shadow with the schema before.
package diff

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/lint"
	"github.com/page-builder/persistence/pgmigrate/dev/schema"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// Options say where the shadows go and how the folder is read. The zero value suits a folder with
// pgmigrate's defaults.
type Options struct {
	// VersionTable and HistorySchema are pgmigrate's, with its defaults.
	VersionTable, HistorySchema string

	// Data are values for migrations that are templates.
	Data map[string]any

	// Repeatable are the repeatable migrations, which run after the folder's. Nil means none.
	Repeatable fs.FS

	// Backfills writes a backfill for each column that becomes NOT NULL, and the line that makes
	// the migration wait for it. Without it a note offers that.
	Backfills bool

	// Shadow is where the shadow databases go and what is created in them before the migrations.
	// Its Migrations, Version and Migrate are ignored.
	Shadow shadow.Options
}

// Result is the result of Make. No files mean that the migrations make the wanted schema already.
type Result struct {
	Files     []File
	Backfills []File
	Notes     []string
}

// RefusedError says what a person has to write. [Make] returns it with a result that has the rest.
type RefusedError struct {
	Reason  string
	Changes []schema.Change // that are left, each with its own reason
}

func (e *RefusedError) Error() string {
	var b strings.Builder
	b.WriteString(e.Reason)
	for _, c := range e.Changes {
		b.WriteString("\n  " + c.String())
	}
	b.WriteString("\nwrite that with: pgmigrate new NAME; then run diff again for the rest")
	return b.String()
}

// maxRounds limits how often Make adds statements for remaining differences. A table that is
// created again loses its comments, which the second round finds. A third is hardly ever needed.
const maxRounds = 4

// Make returns the files that turn what the folder makes into the wanted schema. name is the new
// files' name, such as add_page_titles. It blocks for some seconds and touches only its own shadow
// databases. With a *[RefusedError] the result has the files for everything else.
func Make(ctx context.Context, folder fs.FS, wanted, name string, opts Options) (*Result, error) {
	w := &work{folder: folder, name: name, opts: opts, dumps: map[*shadow.DB]*schema.Dump{}}
	if err := w.open(ctx, wanted); err != nil {
		return nil, fmt.Errorf("diff: %w", err)
	}
	defer w.close()
	result, err := w.make(ctx)
	var refused *RefusedError
	if err != nil {
		if !errors.As(err, &refused) {
			result = nil
		}
		return result, fmt.Errorf("diff: %w", err)
	}
	return result, nil
}

// work is one call of Make.
type work struct {
	folder fs.FS
	name   string
	opts   Options

	last  int32 // the folder's last version
	width int   // of its numbers
	from  *shadow.DB
	want  *shadow.DB
	dbs   []*shadow.DB
	notes []string

	mu    sync.Mutex // of what two readers share
	dumps map[*shadow.DB]*schema.Dump
}

func (w *work) open(ctx context.Context, wanted string) error {
	opts := w.opts.Shadow
	opts.Version, opts.Migrations, opts.Migrate = 0, nil, w.migrate()
	var migrations []pgmigrate.Migration
	var files []string
	var err error
	if w.folder != nil {
		files, err = fs.Glob(w.folder, "*.sql")
	}
	if len(files) > 0 || err != nil || w.folder == nil { // else diff writes the first migration
		if migrations, err = pgmigrate.Check(w.folder, opts.Migrate...); err != nil {
			return err
		}
		opts.Migrations, w.last = w.folder, int32(len(migrations))
	}
	w.width = width(migrations)
	if w.from, err = w.keep(shadow.Open(ctx, opts)); err != nil {
		return err
	}
	if note := w.from.Note(); note != "" {
		w.notes = append(w.notes, note)
	}
	if w.want, err = w.keep(w.from.Empty(ctx)); err != nil {
		return err
	}
	// psql's commands around the dump of a newer pg_dump.
	wanted = restrict.ReplaceAllString(unrestrict.ReplaceAllString(wanted, ""), "$1")
	if err := w.want.Exec(ctx, wanted); err != nil {
		return fmt.Errorf("the wanted schema does not run on an empty database: %w", located(err, wanted))
	}
	return nil
}

var (
	restrict   = regexp.MustCompile(`\A((?:\s|--[^\n]*\n)*)\\restrict [^\n]*`)
	unrestrict = regexp.MustCompile(`\\unrestrict [^\n]*\s*\z`)
)

// keep remembers a shadow for close.
func (w *work) keep(db *shadow.DB, err error) (*shadow.DB, error) {
	if err == nil {
		w.dbs = append(w.dbs, db)
	}
	return db, err
}

func (w *work) close() {
	for _, db := range w.dbs {
		db.Close() // the next shadow sweeps leftovers
	}
}

func (w *work) clone(ctx context.Context, db *shadow.DB) (*shadow.DB, error) {
	return w.keep(db.Clone(ctx))
}

func (w *work) migrate() []pgmigrate.Option {
	list := []pgmigrate.Option{
		pgmigrate.WithLogger(nil), pgmigrate.WithData(w.opts.Data),
		pgmigrate.WithRepeatable(w.opts.Repeatable),
	}
	if w.opts.VersionTable != "" {
		list = append(list, pgmigrate.WithVersionTable(w.opts.VersionTable))
	}
	if w.opts.HistorySchema != "" {
		list = append(list, pgmigrate.WithHistorySchema(w.opts.HistorySchema))
	}
	return list
}

func (w *work) compare(ctx context.Context, from, to *shadow.DB) (*schema.Difference, error) {
	opts := schema.Options{
		VersionTable: w.opts.VersionTable, HistorySchema: w.opts.HistorySchema,
		NoOwners: true, Scratch: func(ctx context.Context) (schema.Scratch, error) { return w.from.Empty(ctx) },
	}
	var (
		reading          sync.WaitGroup
		fromSide, toSide schema.Database
		fromErr, toErr   error
	)
	reading.Go(func() { fromSide, fromErr = w.side(ctx, from, opts) })
	reading.Go(func() { toSide, toErr = w.side(ctx, to, opts) })
	reading.Wait()
	if err := errors.Join(fromErr, toErr); err != nil {
		return nil, err
	}
	d, err := schema.Compare(ctx, fromSide, toSide, opts)
	return d, err
}

// side reads a shadow once: shadows do not change after their first comparison.
func (w *work) side(ctx context.Context, db *shadow.DB, opts schema.Options) (schema.Database, error) {
	w.mu.Lock()
	side := schema.Database{Config: db.Config(), Dump: w.dumps[db]}
	w.mu.Unlock()
	if side.Dump != nil {
		return side, nil
	}
	var (
		err     error
		missing *schema.NoProgramError
	)
	if side.Dump, err = schema.Read(ctx, side, opts); errors.As(err, &missing) {
		return side, nil // Compare does without, and says so
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dumps[db] = side.Dump
	return side, err
}

func (w *work) make(ctx context.Context) (*Result, error) {
	sections, at, refused := w.up(ctx)
	var left *RefusedError
	if refused != nil && !errors.As(refused, &left) {
		return nil, refused
	}
	if len(sections) == 0 {
		return &Result{Notes: w.notes}, refused
	}
	if err := w.down(ctx, sections, at); err != nil {
		return nil, err
	}
	backfills := w.backfills(sections)
	files := w.files(sections)
	if err := w.lint(ctx, files); err != nil {
		return nil, err
	}
	return &Result{Files: files, Backfills: backfills, Notes: w.notes}, refused
}

// lint adds a note for each finding. It skips the first files of a folder: nothing is in use before
// them.
func (w *work) lint(ctx context.Context, files []File) error {
	if w.last == 0 {
		return nil
	}
	db, err := w.clone(ctx, w.from)
	if err != nil {
		return err
	}
	var versions []int32
	for i := range files {
		versions = append(versions, w.last+int32(i)+1)
	}
	return w.withFolder(files, func(folder fs.FS) error {
		report, err := lint.Run(ctx, db, folder, lint.Options{Versions: versions, Data: w.opts.Data})
		for _, f := range report.Findings {
			if f.Severity != lint.SeverityHint {
				w.notes = append(w.notes,
					fmt.Sprintf("%s:%d: lint: %s: %s: %s", f.File, f.Line, f.Severity, f.Rule, f.Message))
			}
		}
		return err
	})
}

// up finds the statements, round by round, each on a fresh copy and by pgmigrate itself. It returns
// a copy with all applied. A *[RefusedError] names what is left.
func (w *work) up(ctx context.Context) ([]*section, *shadow.DB, error) {
	var (
		statements []schema.Statement
		sections   []*section
		failed     []schema.Change
	)
	at := w.from
	for round := 0; ; round++ {
		d, err := w.compare(ctx, at, w.want)
		if err != nil {
			return nil, nil, err
		}
		if d.Empty() {
			return sections, at, nil
		}
		plan := d.Plan()
		if len(plan.Statements) == 0 || round == maxRounds || len(failed) > 0 {
			return sections, at, refused(d, plan, failed)
		}
		statements = append(statements, plan.Statements...)
		sections = split(statements, w.opts.Backfills)
		if at, err = w.clone(ctx, w.from); err != nil {
			return nil, nil, err
		}
		if err := w.apply(ctx, at, sections, len(sections)); err == nil {
			continue
		} else if ctx.Err() != nil {
			return nil, nil, err
		}
		if statements, failed, err = w.try(ctx, statements); err != nil {
			return nil, nil, err
		}
		sections = split(statements, w.opts.Backfills)
		if at, err = w.clone(ctx, w.from); err != nil {
			return nil, nil, err
		}
		if len(sections) == 0 {
			continue
		}
		if err := w.apply(ctx, at, sections, len(sections)); err != nil {
			return nil, nil, &RefusedError{Reason: "the statements that were found do not run: " + err.Error()}
		}
	}
}

// try finds the objects whose statements do not run, and returns the statements of all others.
func (w *work) try(ctx context.Context, all []schema.Statement) ([]schema.Statement, []schema.Change, error) {
	var failed []schema.Change
	for {
		db, err := w.clone(ctx, w.from)
		if err != nil {
			return nil, nil, err
		}
		at := slices.IndexFunc(all, func(s schema.Statement) bool {
			err = db.Exec(ctx, s.SQL)
			return err != nil
		})
		if at < 0 || ctx.Err() != nil {
			return all, failed, ctx.Err()
		}
		o := all[at].Object()
		failed = append(failed, schema.Change{To: &o, Reason: err.Error()})
		all = slices.DeleteFunc(slices.Clone(all), func(s schema.Statement) bool {
			return s.Object().Type == o.Type && s.Object().Schema == o.Schema && s.Object().Name == o.Name
		})
	}
}

func refused(d *schema.Difference, plan schema.Plan, failed []schema.Change) error {
	if left := slices.Concat(failed, plan.Unexpressed); len(left) > 0 {
		return &RefusedError{Reason: "there is no statement that works for:", Changes: left}
	}
	return &RefusedError{
		Reason: "the statements that were found do not lead to the wanted schema; what is left:", Changes: d.Objects,
	}
}
