package pgtx_test

// function runs the steps in the innermost frame of the scope's transaction.
func (m *model) function(r *run, in *scope, own *limit) (marks, unwind) {
	s := in.state
	for _, step := range r.steps {
		var err marks
		var up unwind
		switch step.action {
		case insert:
			if err = s.statement(own, nil); err == nil {
				s.writing().written = append(s.writing().written, step.id)
			}
		case divide:
			err = s.statement(own, marked("22012"))
		case misname:
			err = s.statement(own, marked("42P01"))
		case conflict:
			var failure marks
			if !m.met[step.id] {
				failure = marked("40001")
			}
			m.met[step.id] = true
			err = s.statement(own, failure)
		case beforeCommitIs:
			f := s.innermost()
			f.before = append(f.before, step)
		case afterCommitIs:
			f := s.innermost()
			f.after = append(f.after, step)
		case afterRollbackIs:
			f := s.innermost()
			f.undone = append(f.undone, step)
		case cancel:
			l := own
			for range step.up {
				l = l.outer
			}
			l.over = true
		case leave:
			if err = s.statement(own, nil); err == nil {
				s.stuck = true
			}
			return err, no
		case nested:
			if err, up = m.run(step.run, in, own); up == exiting || up == panicking && !step.swallow {
				return nil, up
			}
		}
		if err != nil && !step.swallow {
			return err, no
		}
	}
	switch r.end {
	case fails:
		return marked("business"), no
	case panics:
		return nil, panicking
	case exits:
		return nil, exiting
	}
	return nil, no
}

func (m *model) beforeCommit(s *state, own *limit) marks {
	f := s.frames[0]
	hooks := f.before
	f.before = nil
	for _, hook := range hooks {
		m.hooks = append(m.hooks, called("before", hook))
		if hook.writes {
			if err := s.statement(own, nil); err != nil {
				return err
			}
			f.written = append(f.written, hook.id)
		}
		if hook.fails {
			return marked("hook")
		}
	}
	return nil
}

func (m *model) call(what string, hooks []step) (failed marks) {
	for _, hook := range hooks {
		m.hooks = append(m.hooks, called(what, hook))
		if hook.fails {
			failed = marked("hook")
		}
	}
	return failed
}
