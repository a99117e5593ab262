package pgtx_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgtx"
)

// marks are what is known of an error: the kinds of errors in its tree. Nil is no error.
type marks map[string]bool

func marked(names ...string) marks {
	m := marks{}
	for _, name := range names {
		m[name] = true
	}
	return m
}

func (m marks) and(other marks) marks {
	both := maps.Clone(m)
	maps.Copy(both, other)
	return both
}

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

// state is one transaction.
type state struct {
	db      int
	begun   bool
	refused marks // what each use is answered with: it could not begin
	aborted bool  // a statement failed
	first   marks // that failure
	doomed  marks // it can only be repeated as a whole
	stuck   bool  // rows are open
	frames  []*frame
}

// frame is a function in a transaction, with a savepoint or without.
type frame struct {
	joined                bool
	written               []int
	before, after, undone []step
}

// scope is what a ctx carries: open transactions, innermost first.
type scope struct {
	state *state
	outer *scope
}

func (s *scope) find(db int) *state {
	for ; s != nil; s = s.outer {
		if s.state.db == db {
			return s.state
		}
	}
	return nil
}

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
			last = &state{db: r.db, begun: r.eager, frames: []*frame{{}}}
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
			result = before.and(result).and(marked("retry"))
			break
		}
		if !result["40001"] || result["hook error"] || result["retry"] || own.done() {
			break
		}
		if theirs(around, result) {
			break
		}
		if attempt == pgtx.DefaultMaxAttempts {
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

// theirs reports whether a conflict is that of a transaction around, which alone can be repeated to get rid of it.
func theirs(around *scope, err marks) bool {
	for ; around != nil; around = around.outer {
		if err[around.state.origin()] {
			return true
		}
	}
	return false
}

// origin is a hidden mark of the failures of s.
func (s *state) origin() string { return fmt.Sprintf("%s%p", hidden, s) }

const hidden = "hidden: "

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
		s.drop()
		return s.doomed, up
	case s.aborted:
		result = s.first.and(marked("swallowed"))
	default:
		s.handUp()
		return nil, up
	}
	s.drop()
	if s.doomed == nil {
		s.doomed = result
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
	if err := s.send(own); err != nil {
		return err, no
	}
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
	s.aborted, s.first = false, nil
	if s.doomed == nil && result["40001"] {
		s.doomed = result
	}
	return result, up
}

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

// enter is what stands before every use of a transaction.
func (s *state) enter() marks {
	switch {
	case s.stuck:
		return marked("in use")
	case s.doomed != nil:
		return s.doomed
	case s.refused != nil:
		return s.refused
	}
	return nil
}

// send is what becomes of something sent with a ctx.
func (s *state) send(own *limit) marks {
	if !own.done() {
		s.begun = true
		return nil
	}
	if !s.begun { // no connection is taken, and none will be
		s.refused, s.aborted, s.first = marked("canceled"), true, marked("canceled")
	}
	return marked("canceled")
}

// statement is one that fails with failure, if that is not nil.
func (s *state) statement(own *limit, failure marks) marks {
	if err := s.enter(); err != nil {
		return err
	}
	fresh := !s.begun
	if err := s.send(own); err != nil {
		return err
	}
	switch {
	case s.aborted:
		return marked("25P02")
	case failure != nil:
		failure = failure.and(marked(s.origin()))
		s.aborted, s.first = true, failure
		if fresh && failure["42P01"] { // prepared before BEGIN was sent
			s.refused = marked("25P02")
		}
	}
	return failure
}

func (s *state) innermost() *frame { return s.frames[len(s.frames)-1] }

// writing is the frame with whose savepoint a statement is undone.
func (s *state) writing() *frame {
	for i := len(s.frames) - 1; ; i-- {
		if !s.frames[i].joined {
			return s.frames[i]
		}
	}
}

func (s *state) drop() { s.frames = s.frames[:len(s.frames)-1] }

func (s *state) handUp() {
	f := s.innermost()
	s.drop()
	up := s.innermost()
	up.written = append(up.written, f.written...)
	up.before = append(up.before, f.before...)
	up.after = append(up.after, f.after...)
	up.undone = append(up.undone, f.undone...)
}

func (m marks) String() string {
	if m == nil {
		return "nil"
	}
	text := ""
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !strings.HasPrefix(name, hidden) {
			text += "[" + name + "]"
		}
	}
	return text
}
