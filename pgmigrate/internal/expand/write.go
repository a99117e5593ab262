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
		if p.opts.Using == "" {
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

func (p *plan) switchOver() file {
	f := file{suffix: "_switch", up: p.undecided()}
	for _, c := range p.new {
		if p.NotNull && p.opts.Kind != Split {
			f.up = append(f.up, p.alter("alter column %s set not null", c.name),
				p.alter("drop constraint %s", p.present()))
			f.down = append(f.down, p.alter("add constraint %s check (%s is not null) not valid", p.present(), c.name),
				p.alter("alter column %s drop not null", c.name))
		}
	}
	if p.opts.Kind == Type {
		p.swap(&f)
		return f
	}
	for _, c := range p.carried {
		if c.kind == "u" {
			f.up = append(f.up, p.alter("add constraint %s unique using index %[1]s%s", c.name, c.suffix))
			f.down = append(f.down, p.alter("drop constraint %s", c.name))
		}
	}
	if len(f.up) == 0 || !slices.ContainsFunc(f.up, func(s string) bool { return strings.HasPrefix(s, "alter") }) {
		f.up = append(f.up, "select 1")
	}
	f.up = append(f.up, "-- From here on a version of the service that only knows the new column may run.")
	return f
}

// swap gives the new column the name of the old one, which stays for the way back.
func (p *plan) swap(f *file) {
	c, kept := p.new[0], p.kept()
	undo := append([]string{
		"-- pgmigrate:check values that " + p.Type + " cannot hold",
		fmt.Sprintf("select %s from %s where %s is not null and %s is null limit 4", strings.Join(p.Key, ", "), p.table,
			p.Column, kept), "",
	}, p.function(p.forward()), "")
	f.up = append(f.up, "", p.function(p.backward()), "")
	for _, k := range p.carried {
		switch k.kind {
		case "i":
			f.up = append(f.up,
				"-- pgmigrate:allow drop-index this transaction holds the lock of the table in any case",
				"drop index "+p.Schema+"."+k.old, "alter index "+p.Schema+"."+k.name+" rename to "+k.old)
			undo = append(undo, "alter index "+p.Schema+"."+k.old+" rename to "+k.name)
		case "u", "p":
			f.up = append(f.up, p.alter("drop constraint %s", k.old),
				p.alter("add constraint %s %s using index %s%s", k.old, keyWords[k.kind], k.name, k.suffix))
			undo = append(undo, p.alter("drop constraint %s", k.old))
		case "c":
			f.up = append(f.up, p.alter("drop constraint %s", k.old),
				p.alter("rename constraint %s to %s", k.name, k.old))
			undo = append(undo, p.alter("rename constraint %s to %s", k.old, k.name))
		}
	}
	if p.Default != "" {
		value := p.Default
		if !p.casts {
			value = "(" + value + ")::" + c.typ
		}
		f.up = append(f.up, p.alter("alter column %s set default %s", c.name, value))
		undo = append(undo, p.alter("alter column %s drop default", p.Column))
	}
	f.up = append(f.up, p.alter("alter column %s drop default, alter column %[1]s drop not null", p.Column))
	const allow = "-- pgmigrate:allow rename-column the other column has the name when this transaction ends"
	const unused = "-- pgmigrate:allow rename-column nothing but the trigger uses this name"
	f.up = append(f.up, allow, p.alter("rename column %s to %s", p.Column, kept),
		unused, p.alter("rename column %s to %s", c.name, p.Column))
	undo = append(undo, allow, p.alter("rename column %s to %s", p.Column, c.name),
		unused, p.alter("rename column %s to %s", kept, p.Column))
	f.up = append(f.up, p.own(p.Column)...)
	if c.typ == "bigint" {
		for _, s := range p.Sequences {
			f.up = append(f.up, "alter sequence "+s+" as bigint")
		}
	}
	f.down = slices.Concat(undo, p.own(p.Column), p.restore(), f.down)
}

var keyWords = map[string]string{"u": "unique", "p": "primary key"}

// kept is the name of the old column after the switch of a type.
func (p *plan) kept() string { return quote(p.RawColumn + "_old") }

// backward is the function's body after the switch of a type. The old column must not make a write
// fail.
func (p *plan) backward() string {
	set := "new." + p.kept() + " := new." + p.Column + ";"
	if p.opts.Back != "" {
		set = p.assign("new."+p.kept(), "("+p.opts.Back+")")
	}
	return `  begin
    ` + set + `
  exception when data_exception or integrity_constraint_violation then
    new.` + p.kept() + ` := null; -- the old type cannot hold it
  end;`
}

// own gives the column's sequences to a column, so that they stay when the old one goes.
func (p *plan) own(column string) []string {
	var list []string
	for _, s := range p.Sequences {
		list = append(list, "alter sequence "+s+" owned by "+p.table+"."+column)
	}
	return list
}

// restore makes the old column what it was.
func (p *plan) restore() []string {
	var list []string
	if p.Default != "" {
		list = append(list, p.alter("alter column %s set default %s", p.Column, p.Default))
	}
	if p.NotNull {
		list = append(list, p.alter("alter column %s set not null", p.Column))
	}
	for _, c := range p.carried {
		if c.kind != "f" {
			list = append(list, c.restore)
		}
	}
	if p.opts.Kind != Type { // there the old column still has them
		list = append(list, p.lost...)
	}
	if len(p.carried)+len(p.lost) > 0 {
		const note = "-- This builds and checks what the old column had, under a lock of the table."
		list = append([]string{note}, list...)
	}
	return list
}

// contract drops the old column.
func (p *plan) contract() file {
	f := file{suffix: "_contract"}
	for _, what := range p.Others {
		f.up = append(f.up, "-- This depends on the old column; change it first: "+
			strings.Join(strings.Fields(what), " "))
	}
	old := p.Column
	if p.opts.Kind == Type {
		old = p.kept()
	} else {
		f.up = append(f.up, "-- pgmigrate:check rows whose new column is not what the old one says",
			fmt.Sprintf("select %s from %s where %s limit 4", strings.Join(p.Key, ", "), p.table, p.wrong()), "")
	}
	f.up = append(f.up, p.dropTrigger()...)
	f.down = append([]string{
		"-- This writes all rows under a lock of the table.", p.alter("add column %s %s%s", old, p.Type, p.Collate),
	}, p.described(old)...)
	const allow = "-- pgmigrate:allow write-without-where the old column has to have its values when this ends"
	switch p.opts.Kind {
	case Type:
		f.down = append(f.down, p.function(p.backward()), p.trigger(), allow, "update "+p.table+" set "+old+" = null")
	default:
		value := p.new[0].name
		if p.opts.Kind == Split {
			value = "(" + p.opts.Back + ")"
		}
		f.down = append(f.down, allow, "update "+p.table+" set "+old+" = "+value, p.function(p.forward()), p.trigger())
	}
	if p.opts.Kind == Rename {
		name := p.new[0].name
		if p.Default != "" {
			f.up = append(f.up, p.alter("alter column %s set default %s", name, p.Default))
			f.down = append(f.down, p.alter("alter column %s drop default", name))
		}
		f.up = append(f.up, p.own(name)...)
		f.down = append(f.down, p.own(old)...)
		for _, c := range p.carried {
			if c.kind == "p" {
				f.up = append(f.up, p.alter("drop constraint %s", c.old),
					p.alter("add constraint %s primary key using index %s%s", c.old, c.name, c.suffix))
				f.down = append(f.down, p.alter("drop constraint %s", c.old))
			}
		}
	}
	if p.opts.Kind != Type {
		f.down = append(f.down, p.restore()...)
	}
	f.up = append(f.up, "", "-- pgmigrate:allow drop-column no version of the service that still runs names it",
		p.alter("drop column %s", old))
	return f
}
