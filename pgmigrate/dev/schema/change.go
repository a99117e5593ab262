package schema

// Change is an object that is not the same on both sides. One of From and To may be nil.
type Change struct {
	From, To *Object

	// Reason says why there is no statement for it, if there is none.
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

// compareDumps returns what is new or other in to in its order, behind what is gone in the reverse
// of from's.
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

// ofPublic: owner, grants and comment of the schema public itself depend on the version that the
// cluster was once made with. They count only where to, the side that is wanted, has something to
// say about them.
func ofPublic(o Object) bool {
	switch o.Type {
	case "SCHEMA":
		return o.Name == "public"
	case "ACL", "COMMENT":
		return o.Name == "SCHEMA public"
	}
	return false
}
