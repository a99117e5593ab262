package pgmigrate

import "context"

// Plan is what [Migrator.Up] would run now.
type Plan struct {
	Version int32       // the database's version; 0 also if there is no version table yet
	Latest  int32       // the folder's last version
	Steps   []Migration // in the order they would run; their Up field is the SQL
}

// Ahead reports whether the database is ahead of the folder. Up would do nothing but warn.
func (p Plan) Ahead() bool { return p.Version > p.Latest }

// Plan reads the database's version as [Migrator.Status] does and returns what Up would run. The SQL is rendered: values
// from templates, such as {{env "NAME"}}, are in it.
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
	return p, nil
}
