package pgtx_test

import (
	"fmt"
)

// state is one transaction.
type state struct {
	db      int
	limit   *limit // of the outermost
	begun   bool
	refused marks // what each use is answered with: it could not begin
	aborted bool  // a statement failed
	first   marks // that failure
	doomed  marks // it can only be undone with the savepoint of a frame
	at      int   // that frame
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

// origin is a hidden mark of the failures of s.
func (s *state) origin() string { return fmt.Sprintf("%s%p", hidden, s) }

const hidden = "hidden: "

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
	root := s.limit
	if !own.done() {
		s.begun = true
		return nil
	}
	if !s.begun && root.done() { // no connection is taken, and none will be
		s.refused, s.aborted, s.first = marked("canceled"), true, marked("canceled")
	}
	return marked("canceled")
}

// statement is one that fails with failure, if that is not nil.
func (s *state) statement(own *limit, failure marks) marks {
	if err := s.enter(); err != nil {
		return err
	}
	if err := s.send(own); err != nil {
		return err
	}
	switch {
	case s.aborted:
		return marked("25P02")
	case failure != nil:
		failure = failure.and(marked(s.origin()))
		s.aborted, s.first = true, failure
	}
	return failure
}

// isConflict reports whether err is a serialization failure of s.
func (s *state) isConflict(err marks) bool { return err["40001"] && err[s.origin()] }

func (s *state) innermost() *frame { return s.frames[len(s.frames)-1] }

// writing is the frame with whose savepoint a statement is undone.
func (s *state) writing() *frame { return s.frames[s.savepoint()] }

func (s *state) savepoint() int {
	i := len(s.frames) - 1
	for s.frames[i].joined {
		i--
	}
	return i
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
