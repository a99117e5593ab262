package expand

import (
	"fmt"
	"slices"
	"strings"
)

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
