package diff

import (
	"context"
	"fmt"

	"github.com/page-builder/persistence/pgmigrate/dev/schema"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// down finds each section's way back: from the state after it to the state before it, so that any
// number of them can be taken back. Then all are, and if anything differs from the former schema,
// or does not run, the sections stay without a way back and say why.
func (w *work) down(ctx context.Context, sections []*section, after *shadow.DB) error {
	states, err := w.states(ctx, sections, after)
	if err != nil {
		return err
	}
	for i, s := range sections {
		d, err := w.compare(ctx, states[i+1], states[i], s.transactional)
		if err != nil {
			return err
		}
		if d.StructureError != nil && len(d.Plan().Statements) == 0 {
			noWayBack(sections, d.StructureError.Error())
			return nil
		}
		s.down = d.Plan().Statements
	}
	for round := 1; ; round++ {
		taken, err := w.clone(ctx, w.from)
		if err != nil {
			return err
		}
		if err := w.apply(ctx, taken, sections, len(sections)); err != nil {
			return err
		}
		if err := w.apply(ctx, taken, sections, 0); err != nil {
			noWayBack(sections, "the statements that were found for it do not run: "+err.Error())
			return ctx.Err()
		}
		d, err := w.compare(ctx, taken, w.from, true)
		if err != nil {
			return err
		}
		if d.Empty() {
			return nil
		}
		rest := d.Plan()
		// What is left is added to the section that is taken back last.
		if round == maxRounds || len(rest.Statements) == 0 {
			noWayBack(sections, fmt.Sprintf("it would leave differences: %s", list(d.Objects)))
			return nil
		}
		sections[0].down = append(sections[0].down, rest.Statements...)
	}
}

// states are the databases between the sections: [0] before the first, [len] after the last.
func (w *work) states(ctx context.Context, sections []*section, after *shadow.DB) ([]*shadow.DB, error) {
	states := []*shadow.DB{w.from}
	for i := range sections[:len(sections)-1] {
		db, err := w.clone(ctx, states[i])
		if err != nil {
			return nil, err
		}
		if err := w.apply(ctx, db, sections, i+1); err != nil {
			return nil, err
		}
		states = append(states, db)
	}
	return append(states, after), nil
}

func noWayBack(sections []*section, reason string) {
	for _, s := range sections {
		s.irreversible, s.down = reason, nil
	}
}

func list(changes []schema.Change) string {
	text := ""
	for i, c := range changes {
		if i > 0 {
			text += ", "
		}
		text += c.String()
	}
	return text
}
