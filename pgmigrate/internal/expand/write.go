package expand

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// file is a migration before it is text.
type file struct {
	suffix   string
	noTx     bool
	gate     bool
	up, down []string // statements without semicolon, or comments
}

func (p *plan) change() *Change {
	c := &Change{Name: p.name, Notes: p.notes, Backfill: p.backfill()}
	files := append([]file{p.expand()}, p.prepare()...)
	files = append(files, p.switchOver())
	files[1].gate = true
	for _, f := range files {
		c.Migrations = append(c.Migrations, Migration{f.suffix, p.text(f)})
	}
	c.Contract = p.text(p.contract())
	return c
}

const (
	sectionMarker   = "---- create above / drop below ----"
	disableTxMarker = "---- tern: disable-tx ----"
)

func (p *plan) text(f file) string {
	var b strings.Builder
	section := func(statements []string) {
		if f.noTx {
			b.WriteString(disableTxMarker + "\n")
		}
		if len(statements) == 0 {
			statements = []string{"select 1"}
		}
		for _, s := range statements {
			b.WriteString(s)
			if s != "" && !strings.HasPrefix(s, "--") {
				b.WriteString(";")
			}
			b.WriteString("\n")
		}
	}
	if f.gate {
		b.WriteString("-- pgmigrate:requires-backfill " + p.name + "\n")
	}
	section(f.up)
	b.WriteString("\n" + sectionMarker + "\n\n")
	section(f.down)
	return strings.ReplaceAll(b.String(), "{{", `{{"{{"}}`)
}

func (p *plan) alter(format string, args ...any) string {
	return "alter table " + p.table + " " + fmt.Sprintf(format, args...)
}

func (p *plan) columns(format string) []string {
	var list []string
	for _, c := range p.new {
		names := strings.NewReplacer("%n", c.name, "%t", c.typ, "%v", c.value, "%c", c.typed)
		list = append(list, names.Replace(format))
	}
	return list
}

func (p *plan) expand() file {
	f := file{}
	if p.opts.Kind != Rename {
		f.up = append(f.up, "-- From here on a write fails if its new value cannot be computed.")
	}
	f.up = append(f.up, p.alter("%s", strings.Join(p.columns("add column %n %t"), ", ")))
	for _, c := range p.new {
		f.up = append(f.up, p.described(c.name)...)
	}
	for _, s := range p.Storage {
		if p.opts.Kind == Rename {
			f.up = append(f.up, p.alter("alter column %s %s", p.new[0].name, s))
		}
	}
	f.up = append(f.up, "", p.function(p.forward()), "", p.trigger())
	f.down = append(p.dropTrigger(), p.alter("%s", strings.Join(p.columns("drop column %n"), ", ")))
	return f
}

// described repeats the old column's grants and comment.
func (p *plan) described(name string) []string {
	var list []string
	for _, g := range p.Grants {
		list = append(list, fmt.Sprintf(g, name))
	}
	if p.Comment != "" && p.opts.Kind != Split {
		list = append(list, "comment on column "+p.table+"."+name+" is '"+strings.ReplaceAll(p.Comment, "'", "''")+"'")
	}
	return list
}

func (p *plan) functionName() string { return p.Schema + "." + quote(p.name) }

var plainName = regexp.MustCompile(`\A[a-z_][a-z0-9_]*_[a-z0-9_]*\z`)

// quote quotes a name, unless it is a plain one with a _, which no key word has that needs quotes.
func quote(name string) string {
	if plainName.MatchString(name) && !strings.HasPrefix(name, "current_") && name != "session_user" &&
		name != "system_user" {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// function keeps the columns in step. Its body ends before "return new".
func (p *plan) function(body string) string {
	tag := "$sync$"
	for strings.Contains(body, tag) {
		tag = strings.TrimSuffix(tag, "$") + "_$"
	}
	return "create or replace function " + p.functionName() + "() returns trigger language plpgsql as " + tag + `
#variable_conflict use_column
begin
` + body + `
  return new;
end ` + tag
}

func (p *plan) trigger() string {
	return fmt.Sprintf("create trigger zz_%s before insert or update on %s -- zz: after other triggers\n"+
		"  for each row execute function %s()", p.name, p.table, p.functionName())
}

func (p *plan) dropTrigger() []string {
	return []string{
		fmt.Sprintf("drop trigger zz_%s on %s", p.name, p.table), "drop function " + p.functionName() + "()",
	}
}

// assign sets columns of the new row from its other ones.
func (p *plan) assign(to, values string) string {
	return "select " + values + " into " + to + " from (select new.*) as " + p.Table + ";"
}

// differs compares two values; those of some types may be equal and yet not the same.
func differs(exact bool, a, b string) string {
	if exact {
		return a + " is distinct from " + b
	}
	return "record_image_ne(row(" + a + "), row(" + b + "))"
}

// forward is the function's body until the old column is dropped, or the columns are switched.
func (p *plan) forward() string {
	c := p.new[0]
	oldChanged := differs(p.Exact, "new."+p.Column, "old."+p.Column)
	switch p.opts.Kind {
	case Rename:
		return fmt.Sprintf(`  if %s then
    new.%[2]s := new.%[3]s;
  elsif %[4]s then
    new.%[3]s := new.%[2]s;
  end if;`, differs(c.exact, "new."+c.name, "old."+c.name), p.Column, c.name, oldChanged)
	case Type:
		if p.opts.Using == "" && p.casts {
			return "  new." + c.name + " := new." + p.Column + ";"
		}
		return "  " + p.assign("new."+c.name, c.value)
	}
	news := strings.Join(p.columns("new.%n"), ", ")
	return fmt.Sprintf(`  if record_image_ne(row(%s), row(%s))
    and record_image_ne(row(%[1]s), (select row(%[3]s) from (select new.*) as %[4]s)) then
    %[5]s
  elsif %[6]s then
    %[7]s
  end if;`, news, strings.Join(p.columns("old.%n"), ", "), strings.Join(p.columns("%c"), ", "), p.Table,
		p.assign("new."+p.Column, "("+p.opts.Back+")"), oldChanged,
		p.assign(news, strings.Join(p.columns("%v"), ", ")))
}

// wrong is the condition for rows that are not in step.
func (p *plan) wrong() string {
	c := p.new[0]
	if p.opts.Kind != Split {
		return differs(c.exact, c.name, c.typed)
	}
	// What the new version wrote may be split otherwise.
	return strings.Join(p.columns("%n is null"), " and ") + " and (" +
		strings.Join(p.columns("%c is not null"), " or ") + ")"
}

func (p *plan) backfill() string {
	first, last, key := []string{}, []string{}, strings.Join(p.Key, ", ")
	for n := range p.Key {
		first, last = append(first, fmt.Sprintf("$%d", n+1)), append(last, fmt.Sprintf("$%d", len(p.Key)+n+1))
	}
	bounds := key + " between " + first[0] + " and " + last[0]
	if len(p.Key) > 1 {
		bounds = "(" + key + ") between (" + strings.Join(first, ", ") + ") and (" + strings.Join(last, ", ") + ")"
	}
	return fmt.Sprintf(`-- pgmigrate:backfill table=%s key=%s
update %[1]s set %[3]s
where %[4]s and %[5]s;

-- pgmigrate:verify
select count(*) from %[1]s where %[5]s;

-- pgmigrate:finish
analyze %[1]s;
`, p.table, strings.Join(p.Key, ","), strings.Join(p.columns("%n = %v"), ", "), bounds, p.wrong())
}

// present is the check that proves NOT NULL.
func (p *plan) present() string { return p.quoted("_present") }

func (p *plan) quoted(suffix string) string { return quote(p.name + suffix) }

// prepare adds constraints and indexes to the new column, each under locks that let others work.
func (p *plan) prepare() []file {
	var added, references, indexes []file
	var constraints file
	constraints.suffix = "_constraints"
	validated := file{suffix: "_validated"}
	add := func(f *file, name, definition string, unchecked bool) {
		f.up = append(f.up, p.alter("add constraint %s %s not valid", name, definition))
		f.down = append(f.down, p.alter("drop constraint %s", name))
		if !unchecked {
			validated.up = append(validated.up, p.alter("validate constraint %s", name))
		}
	}
	if p.NotNull && p.opts.Kind != Split {
		add(&constraints, p.present(), "check ("+p.new[0].name+" is not null)", false)
	}
	for _, c := range p.carried {
		switch c.kind {
		case "c":
			add(&constraints, c.name, c.definition, c.unchecked)
		case "f":
			f := file{suffix: "_reference"}
			add(&f, c.name, c.definition, c.unchecked)
			references = append(references, f)
		default:
			unique := ""
			if c.unique {
				unique = "unique "
			}
			indexes = append(indexes, file{
				suffix: "_index", noTx: true,
				up:   []string{"create " + unique + "index concurrently " + c.name + " on " + p.table + c.rest},
				down: []string{"drop index concurrently if exists " + p.Schema + "." + c.name},
			})
		}
	}
	if len(constraints.up) > 0 {
		added = append(added, constraints)
	}
	added = append(slices.Concat(added, references), indexes...)
	if len(validated.up) > 0 {
		added = append(added, validated)
	}
	for _, c := range p.carried {
		if c.kind != "f" {
			continue
		}
		// The new column's key holds for the old one too. Dropping locks both tables: it has a file
		// of its own.
		f := file{suffix: "_reference_dropped", up: []string{p.alter("drop constraint %s", c.old)}}
		if p.opts.Kind == Type {
			f.up = append(f.up, p.alter("rename constraint %s to %s", c.name, c.old))
			f.down = append(f.down, p.alter("rename constraint %s to %s", c.old, c.name))
		}
		f.down = append(f.down, strings.TrimSuffix(c.restore, " NOT VALID")+" not valid")
		added = append(added, f)
	}
	seen := map[string]int{}
	for i, f := range added {
		if seen[f.suffix]++; seen[f.suffix] > 1 {
			added[i].suffix = fmt.Sprintf("%s_%d", f.suffix, seen[f.suffix])
		}
	}
	return added
}

// undecided stops a migration until a person has looked at what could not be carried over.
func (p *plan) undecided() []string {
	var list []string
	for _, what := range p.left {
		list = append(list, "-- pgmigrate:check "+p.Column+" has the "+strings.Join(strings.Fields(what), " ")+
			": make its like for the new column, or decide to do without, then delete these lines",
			"select '"+strings.ReplaceAll(what, "'", "''")+"' as \"not carried over\"", "")
	}
	return list
}
