package schema

// Change is an object that differs between the two sides. One of From and To may be nil.
type Change struct {
	From, To *Object

	// Reason says why no statement can make the change. It is empty if one can.
	Reason string
}

// Object returns To, or From for an object that is dropped.
func (c Change) Object() Object {
	if c.To != nil {
		return *c.To
	}
	return *c.From
}

// Verb says what has to happen to the object: "create", "drop" or "change".
func (c Change) Verb() string {
	switch {
	case c.From == nil:
		return "create"
	case c.To == nil:
		return "drop"
	default:
		return "change"
	}
}

func (c Change) String() string {
	text := c.Verb() + " " + c.Object().String()
	if c.Reason != "" {
		text += ": " + c.Reason
	}
	return text
}

// compareDumps returns the objects that to lacks, in the reverse order of from, followed by those
// that are new or different, in the order of to.
func compareDumps(from, to *Dump) []Change {
	fromByKey, toByKey := byKey(from), byKey(to)
	var changes []Change
	for i := len(from.Objects) - 1; i >= 0; i-- {
		o := &from.Objects[i]
		if _, ok := toByKey[o.key()]; !ok && !ofPublic(*o) {
			changes = append(changes, Change{From: o})
		}
	}
	for i := range to.Objects {
		o := &to.Objects[i]
		old, ok := fromByKey[o.key()]
		switch {
		case !ok:
			changes = append(changes, Change{To: o})
		case old.canonical() != o.canonical():
			changes = append(changes, Change{From: old, To: o})
		}
	}
	return changes
}

func byKey(d *Dump) map[string]*Object {
	m := make(map[string]*Object, len(d.Objects))
	for i := range d.Objects {
		m[d.Objects[i].key()] = &d.Objects[i]
	}
	return m
}

// ofPublic recognizes the owner, grants and comment of the schema public. Their defaults depend on
// the version that created the cluster, so they count only if to, the wanted side, sets them.
func ofPublic(o Object) bool {
	switch o.Type {
	case "SCHEMA":
		return o.Name == "public"
	case "ACL", "COMMENT":
		return o.Name == "SCHEMA public"
	}
	return false
}
