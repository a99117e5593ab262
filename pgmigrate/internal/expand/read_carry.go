package expand

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// indexes returns what follows the table's name in the definitions of the copy's indexes, by their
// names: a change of the type makes them again.
func (r *reader) indexes() (map[string]string, error) {
	list, err := r.list(`select length(x.relname) || ' ' || x.relname || `+rest+`
from pg_index i join pg_class x on x.oid = i.indexrelid where i.indrelid = $1::regclass`, r.copy)
	found := map[string]string{}
	for _, line := range list {
		size, text, _ := strings.Cut(line, " ")
		n, _ := strconv.Atoi(size)
		name := string([]rune(text)[:n])
		found[name] = text[len(name):]
	}
	return found, err
}

// carry finds the definitions of indexes and constraints on the new column.
func (p *plan) carry(r *reader, before map[string]string) error {
	after, err := r.indexes()
	if err != nil {
		return err
	}
	checks, err := r.list("select conname || ' ' || pg_get_constraintdef(oid) from pg_constraint "+
		"where conrelid = $1::regclass and contype = 'c'", r.copy)
	if err != nil {
		return err
	}
	onNew := func(rest string) string {
		for name, text := range before {
			if text == rest {
				return after[name]
			}
		}
		return ""
	}
	for _, i := range p.Indexes {
		c := carried{kind: "i", old: i.Name, unique: i.Unique, rest: onNew(i.Rest), restore: i.Definition}
		if p.opts.Kind == Split || p.Kind == "p" || i.Replica || c.rest == "" {
			p.left, p.lost = append(p.left, "index "+i.Name), append(p.lost, c.restore)
		} else if err := p.keep(r, c, i.RawName); err != nil {
			return err
		}
	}
	for _, k := range p.Constraints {
		c := carried{kind: k.Type, old: k.Name, restore: p.alter("add constraint %s %s", k.Name, k.Definition)}
		switch k.Type {
		case "c":
			for _, check := range checks {
				if text, ok := strings.CutPrefix(check, k.RawName+" "); ok {
					c.definition = text
				}
			}
		case "f":
			columns := slices.Clone(k.Columns)
			columns[slices.Index(columns, p.Column)] = p.new[0].name
			text, ok := strings.CutPrefix(k.Definition, "FOREIGN KEY ("+strings.Join(k.Columns, ", ")+")")
			const referred = "pg_temp.pgmigrate_referred"
			fits := p.opts.Kind == Rename || r.run("create table "+referred+" (it "+k.Refers+" primary key); "+
				"alter table "+r.copy+" add foreign key ("+p.new[0].name+") references "+referred+"; "+
				"drop table "+referred+" cascade") == nil
			if ok && fits && p.Kind != "p" && !strings.Contains(text, "SET NULL (") &&
				!strings.Contains(text, "SET DEFAULT (") {
				c.definition = "FOREIGN KEY (" + strings.Join(columns, ", ") + ")" + text
			}
		case "u", "p":
			if k.Plain && p.Kind != "p" {
				c.unique, c.rest = true, onNew(k.Rest)
			}
			if _, suffix, ok := strings.Cut(k.Definition, " DEFERRABLE"); ok {
				c.suffix = " deferrable" + strings.ToLower(suffix)
			}
		}
		c.definition, c.unchecked = strings.CutSuffix(c.definition, " NOT VALID")
		c.unchecked = c.unchecked || strings.HasSuffix(c.definition, " NOT ENFORCED")
		if p.opts.Kind == Split || c.rest == "" && c.definition == "" {
			p.left, p.lost = append(p.left, "constraint "+k.Name), append(p.lost, c.restore)
		} else if err := p.keep(r, c, k.RawName); err != nil {
			return err
		}
	}
	return nil
}

// keep adds what is carried over, under a name that nothing has.
func (p *plan) keep(r *reader, c carried, raw string) error {
	name := raw + "_new"
	if p.opts.Kind == Rename && strings.Contains(raw, p.RawColumn) {
		name = strings.Replace(raw, p.RawColumn, p.new[0].raw, 1)
	}
	for n := 1; ; n++ {
		quoted, err := r.text(`select case when octet_length($1) < 64 and not exists (
  select from pg_class x join pg_namespace n on n.oid = x.relnamespace where n.nspname = $2 and x.relname = $1
  union all select from pg_constraint k where k.conrelid = $3::regclass and k.conname = $1)
then quote_ident($1) else '' end`,
			name, p.RawSchema, p.table)
		if err != nil {
			return err
		}
		if quoted != "" && !slices.ContainsFunc(p.carried, func(o carried) bool { return o.name == quoted }) {
			c.name = quoted
			p.carried = append(p.carried, c)
			return nil
		}
		name = fmt.Sprintf("%s_%d", p.name, n)
	}
}
