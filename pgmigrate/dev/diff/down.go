package diff

import (
	"context"
	"fmt"
	"slices"

	"github.com/page-builder/persistence/pgmigrate/dev/schema"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// down finds the down section of each section, which leads from the state after it to the state
// before it, so that any number of sections can be undone. If a down section fails or leads
// elsewhere, the file has none and says why.
func (w *work) down(ctx context.Context, sections []*section, after *shadow.DB) error {
	states, err := w.states(ctx, sections, after)
	if err != nil {
		return err
	}
	for i, s := range sections {
		d, err := w.compare(ctx, states[i+1], states[i])
		if err != nil {
			return err
		}
		plan := d.Plan()
		s.down = plan.Statements
		if len(plan.Unexpressed) > 0 {
			s.irreversible, s.down = "there is no statement that works for: "+list(plan.Unexpressed), nil
		}
	}
	for i := len(sections) - 1; i >= 0; {
		first, err := w.back(ctx, sections, states, i)
		if err != nil {
			return err
		}
		i = first - 1
	}
	return nil
}

// back undoes sections in a row, beginning at last, as far as possible, and returns the first one
// undone. If that fails it tries them one by one.
func (w *work) back(ctx context.Context, sections []*section, states []*shadow.DB, last int) (int, error) {
	if sections[last].irreversible != "" {
		return last, nil
	}
	first := last
	for first > 0 && sections[first-1].irreversible == "" {
		first--
	}
	rest, reason, err := w.tryBack(ctx, sections, states, first, last)
	if err != nil || reason == "" && len(rest) == 0 {
		return first, err
	}
	for i := last; i >= first; i-- {
		if err := w.mend(ctx, sections, states, i); err != nil {
			return first, err
		}
	}
	return first, nil
}

// mend tries one down section. It adds the statements that are missing, or removes the section.
func (w *work) mend(ctx context.Context, sections []*section, states []*shadow.DB, i int) error {
	s := sections[i]
	for round := 0; ; round++ {
		rest, reason, err := w.tryBack(ctx, sections, states, i, i)
		switch {
		case err != nil:
			return err
		case reason == "":
			return nil
		case len(rest) == 0 || round == maxRounds:
			s.irreversible, s.down = reason, nil
			return nil
		}
		s.down = append(s.down, rest...)
	}
}

// tryBack undoes the sections from last to first on a copy. It returns the reason if that does not
// lead to the state before first, and the remaining differences. The reason is "" if it does.
func (w *work) tryBack(
	ctx context.Context,
	sections []*section,
	states []*shadow.DB,
	first, last int,
) (rest []schema.Statement, reason string, err error) {
	taken, err := w.clone(ctx, states[last+1])
	if err != nil {
		return nil, "", err
	}
	files := slices.Clone(sections)
	for i := range first { // what stays applied must be the file that was applied, which had no way back
		files[i] = &section{up: sections[i].up, transactional: sections[i].transactional}
	}
	if err := w.apply(ctx, taken, files, first); err != nil {
		return nil, "the statements that were found for it do not run: " + err.Error(), ctx.Err()
	}
	d, err := w.compare(ctx, taken, states[first])
	if err != nil || d.Empty() {
		return nil, "", err
	}
	return d.Plan().Statements, fmt.Sprintf("it would leave differences: %s", list(d.Objects)), nil
}

// states returns the databases between the sections: [0] before the first, [len] after the last.
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
