package pgtx_test

import (
	"github.com/page-builder/persistence/pgtx"
)

// history is what a program leaves to be seen.
type history struct {
	tables [2][]int
	hooks  []string // calls, in order
	ends   []string // of runs that returned, in order: number and marks
}

// model says what a program must do, without a database.
type model struct {
	history
	met map[int]bool // conflicts
}

// limits are ctx: one for each run, below that of the run around it.
type limit struct {
	outer *limit
	over  bool
}

func (l *limit) done() bool { return l != nil && (l.over || l.outer.done()) }

// unwind is how a function ended without returning.
type unwind int

const (
	no unwind = iota
	panicking
	exiting
)

func (m *model) run(r *run, around *scope, l *limit) (marks, unwind) {
	own := &limit{outer: l}
	err, up := m.place(r, around, own)
	if up == no {
		m.ends = append(m.ends, ended(r, err))
	}
	return err, up
}

func (m *model) place(r *run, around *scope, own *limit) (marks, unwind) {
	parent := around.find(r.db)
	switch {
	case r.nesting == pgtx.Required && parent == nil:
		return marked("no transaction"), no
	case r.nesting == pgtx.Forbidden && parent != nil:
		return marked("nested"), no
	case r.nesting == pgtx.Separate || parent == nil:
		return m.outermost(r, around, own)
	case r.nesting == pgtx.Join:
		return m.join(r, around, parent, own)
	}
	return m.savepoint(r, around, parent, own)
}

func (m *model) outermost(r *run, around *scope, own *limit) (result marks, up unwind) {
	var last *state
	var before marks
	for attempt := 1; ; attempt++ {
		if own.done() {
			result = marked("canceled")
		} else {
			last = &state{db: r.db, limit: own, begun: r.eager, frames: []*frame{{}}}
			result, up = m.function(r, &scope{last, around}, own)
			if up != no {
				m.call("rollback", last.frames[0].undone)
				return nil, up
			}
			if result == nil {
				result = m.beforeCommit(last, own)
			}
			if result == nil {
				result = m.commit(last, own)
			}
		}
		if before != nil && own.done() && result["canceled"] {
			result = before.and(result.withoutCodes()).and(marked("retry"))
			break
		}
		if result == nil || result["hook error"] || result["retry"] || own.done() {
			break
		}
		if (!last.aborted || !last.isConflict(last.first)) && !last.isConflict(last.doomed) {
			break
		}
		if !result["40001"] {
			result = result.withoutCodes().and(marked("40001"))
		}
		if attempt == 5 {
			result = result.and(marked("retry"))
			break
		}
		before = result
	}
	switch {
	case last == nil:
	case result != nil:
		if failed := m.call("rollback", last.frames[0].undone); failed != nil {
			result = result.and(failed)
		}
	default:
		if failed := m.call("commit", last.frames[0].after); failed != nil {
			result = failed.and(marked("hook error"))
		}
	}
	return result, no
}

func (m *model) commit(s *state, own *limit) marks {
	switch {
	case s.stuck:
		return marked("in use")
	case own.done():
		return marked("canceled")
	case s.doomed != nil:
		return s.doomed
	case s.aborted:
		return s.first.and(marked("swallowed"))
	}
	m.tables[s.db] = append(m.tables[s.db], s.frames[0].written...)
	return nil
}

func (m *model) join(r *run, around *scope, s *state, own *limit) (result marks, up unwind) {
	if err := s.enter(); err != nil {
		return err, no
	}
	s.frames = append(s.frames, &frame{joined: true})
	result, up = m.function(r, &scope{s, around}, own)
	if up != no {
		result = marked()
	}
	s.handUp()
	if s.stuck {
		if result == nil {
			result = marked("in use")
		}
		return result, up
	}
	switch {
	case result != nil:
	case own.done():
		result = marked("canceled")
	case s.doomed != nil:
		return s.doomed, up
	case s.aborted:
		result = s.first.and(marked("swallowed"))
	default:
		return nil, up
	}
	if s.doomed == nil {
		s.doomed, s.at = result, s.savepoint()
	}
	return result, up
}

func (m *model) savepoint(r *run, around *scope, s *state, own *limit) (result marks, up unwind) {
	if err := s.enter(); err != nil {
		return err, no
	}
	if s.aborted {
		return s.first, no
	}
	if own.done() {
		return marked("canceled"), no
	}
	s.begun = true
	s.frames = append(s.frames, &frame{})
	result, up = m.function(r, &scope{s, around}, own)
	if up != no {
		result = marked()
	}
	if s.stuck {
		s.drop()
		if result == nil {
			result = marked("in use")
		}
		return result, up
	}
	switch {
	case result != nil:
	case own.done():
		result = marked("canceled")
	case s.doomed != nil:
		result = s.doomed
	case s.aborted:
		result = s.first.and(marked("swallowed"))
	default:
		s.handUp()
		return nil, up
	}
	s.drop()
	conflict := s.aborted && s.isConflict(s.first) || s.isConflict(result)
	if len(s.frames) <= s.at {
		s.doomed = nil
	}
	if conflict && (s.doomed == nil || s.at > 0) {
		s.doomed, s.at = result, 0
		if !s.isConflict(result) {
			s.doomed = s.first.and(result.withoutCodes())
		}
	}
	s.aborted, s.first = false, nil
	return result, up
}
