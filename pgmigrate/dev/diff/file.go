package diff

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/schema"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// File is a migration file.
type File struct {
	Name    string // such as 009_add_page_titles.sql
	Content string
}

const (
	sectionMarker   = "---- create above / drop below ----"
	disableTxMarker = "---- tern: disable-tx ----"
)

func (w *work) files(sections []*section) []File {
	files := make([]File, len(sections))
	for i, s := range sections {
		name := w.name
		if i > 0 {
			name = fmt.Sprintf("%s_%d", w.name, i+1)
		}
		files[i] = File{Name: fmt.Sprintf("%0*d_%s.sql", w.width, int(w.last)+i+1, name), Content: s.content()}
	}
	return files
}

// apply migrates up or down until the first n sections are applied. It runs the files through
// pgmigrate, as a deployment does.
func (w *work) apply(ctx context.Context, db *shadow.DB, sections []*section, n int) error {
	return w.withFolder(w.files(sections), func(folder fs.FS) error {
		return db.Migrate(ctx, folder, w.last+int32(n))
	})
}

// withFolder calls fn with the folder and the new files in it.
func (w *work) withFolder(files []File, fn func(fs.FS) error) error {
	dir, err := os.MkdirTemp("", "pgmigrate-dev-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, w.folder); err != nil {
		return err
	}
	if err := Write(dir, files); err != nil {
		return err
	}
	return fn(os.DirFS(dir))
}

func (s *section) content() string {
	var b strings.Builder
	for _, name := range s.required {
		b.WriteString("-- pgmigrate:requires-backfill " + name + "\n")
	}
	write(&b, s.up, s.transactional, true)
	if s.irreversible != "" {
		fmt.Fprintf(&b, "\n-- This cannot be rolled back: %s\n", comment(s.irreversible))
		return b.String()
	}
	b.WriteString("\n" + sectionMarker + "\n\n")
	if len(s.down) == 0 { // a section without a statement cannot be rolled back
		b.WriteString("SELECT 1; -- nothing to take back\n")
	}
	transactional := true
	for _, d := range s.down {
		// The rest of a transaction cannot use a value of an enum that it adds.
		transactional = transactional && d.Transactional() && (len(s.down) == 1 || !d.AddsEnumValue())
	}
	write(&b, s.down, transactional, false)
	return b.String()
}

// write writes a section's statements. Only the way up has checks: they run before its first
// statement, and a way down has statements that they would have to see.
func write(b *strings.Builder, statements []schema.Statement, transactional, checks bool) {
	if !transactional {
		b.WriteString(disableTxMarker + "\n")
	}
	for i, s := range statements {
		if i > 0 {
			b.WriteString("\n")
		}
		if checks && s.Check.SQL != "" {
			fmt.Fprintf(b, "-- pgmigrate:check %s\n%s;\n\n", comment(s.Check.Message), escaped(s.Check.SQL))
		}
		for _, h := range s.Hazards {
			fmt.Fprintf(b, "-- %s: %s\n", h.Type, comment(h.Message))
		}
		if s.DeletesData() && replaces(s, statements) {
			b.WriteString("-- If this is a rename, write it as ALTER … RENAME … TO … in place of the two " +
				"statements, here and below.\n")
		}
		b.WriteString(escaped(s.SQL) + ";\n")
	}
}

var (
	dropped = regexp.MustCompile(`^ALTER TABLE (\S+) DROP COLUMN|^DROP TABLE`)
	added   = regexp.MustCompile(`^ALTER TABLE (\S+) ADD COLUMN|^CREATE TABLE`)
)

// replaces reports whether a section drops one object and creates another in its place.
func replaces(s schema.Statement, all []schema.Statement) bool {
	drop := dropped.FindStringSubmatch(s.SQL)
	if drop == nil {
		return false
	}
	for _, other := range all {
		if add := added.FindStringSubmatch(other.SQL); add != nil && add[1] == drop[1] {
			return true
		}
	}
	return false
}

func comment(text string) string { return escaped(strings.Join(strings.Fields(text), " ")) }

// escaped escapes two braces, so that they do not begin a template action.
func escaped(text string) string { return strings.ReplaceAll(text, "{{", `{{"{{"}}`) }

// width returns how many digits the number of the folder's first file has.
func width(migrations []pgmigrate.Migration) int {
	if len(migrations) == 0 {
		return len("001")
	}
	number, _, _ := strings.Cut(migrations[0].Name, "_")
	return len(number)
}

// Write puts the files into the folder. It overwrites nothing, and each file appears whole, in
// order: if the process is killed, the folder has the first files and can be applied. After an
// error it has none of them.
func Write(dir string, files []File) (err error) {
	var made []string
	defer func() {
		if err != nil {
			for i := len(made) - 1; i >= 0; i-- {
				os.Remove(made[i])
			}
		}
	}()
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := writeNew(dir, path, f.Content); err != nil {
			return fmt.Errorf("write migration: %w", err)
		}
		made = append(made, path)
	}
	return nil
}

// writeNew makes a file under a name that no migration has, and links it to its own, which fails if
// that exists.
func writeNew(dir, path, content string) error {
	f, err := os.CreateTemp(dir, ".pgmigrate-dev-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(content)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

// located adds the line to an error of the server about text.
func located(err error, text string) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Position <= 0 {
		return err
	}
	runes := []rune(text)
	line := 1 + strings.Count(string(runes[:min(int(pgErr.Position)-1, len(runes))]), "\n")
	return fmt.Errorf("line %d: %w", line, err)
}
