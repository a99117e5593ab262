package importer

import (
	"cmp"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/page-builder/persistence/pgmigrate/internal/foreign"
)

var (
	numberedFile   = regexp.MustCompile(`(?i)\A(\d+)[_.\- ]*(.*?)(\.(?:up|down))?\.sql\z`)
	numberedFolder = regexp.MustCompile(`\A([\d-]*\d)[_-]*(.*)\z`)
	flywayFile     = regexp.MustCompile(`(?i)\A([VUBR])([\d._]*)__(.*)\.sql\z`)
	markerLine     = regexp.MustCompile(`(?i)\A\s*(?:--+|/\*+)\s*(?:\+\s*goose|\+\s*migrate|migrate\s*:)\s*` +
		`(\w+)\s*(.*?)\s*(?:\*/)?\s*\z`)
	notInName = regexp.MustCompile(`[^a-z0-9]+`)
)

// newName makes a name from the words of an old one.
func newName(old string) string {
	return cmp.Or(strings.Trim(notInName.ReplaceAllString(strings.ToLower(old), "_"), "_"), "migration")
}

// numbers splits 1.2_3 into its numbers.
func numbers(text string) (list []int, err error) {
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r < '0' || r > '9' }) {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, fmt.Errorf("number %s is too large", part)
		}
		list = append(list, n)
	}
	return list, nil
}

// sort orders the migrations by their numbers.
func (c *converter) sort() error {
	slices.SortStableFunc(c.migrations, func(a, b migration) int { return slices.Compare(a.order, b.order) })
	for i := 1; i < len(c.migrations); i++ {
		if a, b := c.migrations[i-1], c.migrations[i]; slices.Equal(a.order, b.order) {
			return fmt.Errorf("%s and %s have the same number: give one of them another", a.from, b.from)
		}
	}
	return nil
}

// readMarked reads files that contain both directions, separated by comments, and plain files
// without markers.
func (c *converter) readMarked(entries []fs.DirEntry, tool foreign.Tool) error {
	for _, e := range entries {
		match := numberedFile.FindStringSubmatch(e.Name())
		switch {
		case e.IsDir():
			continue
		case match == nil && isSQL(e.Name()):
			c.note(e.Name(), "it has no number and is left out")
			continue
		case match == nil:
			if strings.HasSuffix(e.Name(), ".go") {
				c.note(e.Name(), "a migration in Go is left out: write it in SQL")
			}
			continue
		}
		order, err := numbers(match[1])
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
		body, err := c.read(e.Name())
		if err != nil {
			return err
		}
		m := migration{from: e.Name(), name: newName(match[2]), order: order}
		if tool == "" {
			m.up, m.down, _ = strings.Cut(body, sectionMarker)
			m.upAlone, m.downAlone = cutMarker(&m.up), cutMarker(&m.down)
		} else if err := c.split(&m, body); err != nil {
			return err
		}
		c.migrations = append(c.migrations, m)
	}
	return nil
}

// cutMarker removes tern's marker from a section and reports whether it was there.
func cutMarker(sql *string) bool {
	if !strings.Contains(*sql, disableTxMarker) {
		return false
	}
	*sql = strings.ReplaceAll(*sql, disableTxMarker, "")
	return true
}

// split divides a file at its markers.
func (c *converter) split(m *migration, body string) error {
	var before, up, down strings.Builder
	current := &before
	for line := range strings.SplitAfterSeq(body, "\n") {
		match := markerLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if match == nil {
			current.WriteString(line)
			continue
		}
		word, rest := strings.ToLower(match[1]), strings.ToLower(match[2])
		alone := strings.Contains(rest, "notransaction") || strings.Contains(strings.ReplaceAll(rest, " ", ""),
			"transaction:false")
		switch word {
		case "up":
			if current != &before {
				return fmt.Errorf("%s: the up part begins twice", m.from)
			}
			current, m.upAlone = &up, m.upAlone || alone
		case "down":
			if current == &down {
				return fmt.Errorf("%s: the down part begins twice", m.from)
			}
			current, m.downAlone = &down, m.downAlone || alone
		case "no": // NO TRANSACTION
			m.upAlone, m.downAlone = true, true
		case "statementbegin", "statementend":
			// PostgreSQL's own lexer finds the statements.
		case "envsub":
			c.note(m.from, "goose replaces ${NAME} in it by the environment's value: write the value, or a template")
		default:
			c.note(m.from, "the marker %s is not known and left out", strings.TrimSpace(line))
		}
	}
	if len(statements(before.String())) > 0 {
		c.note(m.from, "the statements above the first marker are left out, as the other tool does")
	}
	m.up, m.down = up.String(), down.String()
	return nil
}

// readPairs reads golang-migrate's files: one for each direction.
func (c *converter) readPairs(entries []fs.DirEntry) error {
	byNumber := map[int]int{}    // index in c.migrations
	files := map[string]string{} // by number and direction
	for _, e := range entries {
		match := numberedFile.FindStringSubmatch(e.Name())
		if e.IsDir() || match == nil {
			if isSQL(e.Name()) {
				c.note(e.Name(), "it has no number and is left out")
			}
			continue
		}
		order, err := numbers(match[1])
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
		body, err := c.read(e.Name())
		if err != nil {
			return err
		}
		at, ok := byNumber[order[0]]
		if !ok {
			at = len(c.migrations)
			byNumber[order[0]] = at
			c.migrations = append(c.migrations, migration{from: e.Name(), name: newName(match[2]), order: order})
		}
		m := &c.migrations[at]
		part := &m.up
		if strings.EqualFold(match[3], ".down") {
			part = &m.down
		} else {
			m.from = e.Name()
		}
		key := fmt.Sprint(order[0], part == &m.down)
		if other := files[key]; other != "" {
			return fmt.Errorf("%s and %s have the same number: give one of them another", other, e.Name())
		}
		files[key] = e.Name()
		*part = body
	}
	return nil
}

// readFolders reads Prisma's and Diesel's migrations: a folder for each.
func (c *converter) readFolders(entries []fs.DirEntry) error {
	for _, e := range entries {
		match := numberedFolder.FindStringSubmatch(e.Name())
		if !e.IsDir() || match == nil {
			continue
		}
		order, err := numbers(match[1])
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
		m := migration{name: newName(match[2]), order: order}
		for _, name := range []string{"migration.sql", "up.sql"} {
			if body, err := c.read(e.Name() + "/" + name); err == nil {
				m.from, m.up = e.Name()+"/"+name, body
			}
		}
		if m.from == "" {
			c.note(e.Name(), "the folder has no migration and is left out")
			continue
		}
		if body, err := c.read(e.Name() + "/down.sql"); err == nil {
			m.down = body
		}
		c.migrations = append(c.migrations, m)
	}
	return nil
}

// readFlyway reads V1.2__name.sql, with U1.2__name.sql as its down part.
func (c *converter) readFlyway(entries []fs.DirEntry) error {
	undo := map[string]string{}
	for _, e := range entries {
		match := flywayFile.FindStringSubmatch(e.Name())
		if e.IsDir() || match == nil {
			if isSQL(e.Name()) {
				c.note(e.Name(), "it is no migration of Flyway and is left out")
			}
			continue
		}
		order, err := numbers(match[2])
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
		body, err := c.read(e.Name())
		if err != nil {
			return err
		}
		switch strings.ToUpper(match[1]) {
		case "V":
			m := migration{from: e.Name(), name: newName(match[3]), order: order, up: body}
			if conf, err := c.read(e.Name() + ".conf"); err == nil {
				m.upAlone = strings.Contains(strings.ReplaceAll(conf, " ", ""), "executeInTransaction=false")
			}
			if strings.Contains(body, "${") {
				c.note(e.Name(), "Flyway replaces ${…} in it: write the value, or a template")
			}
			c.migrations = append(c.migrations, m)
		case "U":
			undo[fmt.Sprint(order)] = body
		case "B":
			c.note(e.Name(), "a baseline migration is left out: use \"pgmigrate baseline\"")
		case "R":
			c.note(e.Name(), "a repeatable migration is left out: put it into the folder repeatable beside the new one")
		}
	}
	for i := range c.migrations {
		c.migrations[i].down = undo[fmt.Sprint(c.migrations[i].order)]
	}
	return nil
}
