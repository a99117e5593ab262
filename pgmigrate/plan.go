package pgmigrate

import "context"

// Plan is what [Migrator.Up] would run now.
type Plan struct {
	Version int32       // the database's version; 0 also if there is no version table yet
	Latest  int32       // the folder's last version
	Steps   []Migration // in the order they would run; their Up field is the SQL
	// The repeatable migrations that would run after them.
	Repeatable []Repeatable
}

// Ahead reports whether the database is ahead of the folder. Up would do nothing but warn.
func (p Plan) Ahead() bool { return p.Version > p.Latest }

// Plan reads the database's version as [Migrator.Status] does and returns what Up would run. The
// SQL is rendered: values from templates, such as {{env "NAME"}}, are in it.
//
// If Up would refuse, Plan returns the plan and that error: an *[EditedError] or a *[DirtyError].
func (m *Migrator) Plan(ctx context.Context) (Plan, error) {
	s, err := m.Status(ctx)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Version: s.Version, Latest: s.Latest}
	for _, mig := range s.Migrations {
		if !mig.Applied {
			p.Steps = append(p.Steps, mig.Migration)
		}
	}
	for _, f := range s.Repeatable {
		if !f.Applied && !p.Ahead() {
			p.Repeatable = append(p.Repeatable, f)
		}
	}
	if s.edited != nil {
		return p, s.edited
	}
	if d := s.Dirty; d != nil && d.Version <= s.Latest && (!d.Repeatable || d.Direction != DirectionUp) {
		return p, &DirtyError{*d}
	}
	return p, nil
}
