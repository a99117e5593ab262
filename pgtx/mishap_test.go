package pgtx_test

import (
	"math/rand/v2"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// mishap is what one attempt of a transfer meets.
type mishap struct {
	name  string
	where fault.Cut
	// killed is called with what ends the attempt's backend, when the function is in the middle of
	// its work or, if atCommit, when COMMIT is on its way to the server.
	killed   func(l *ledger, kill func())
	atCommit bool
}

// holes reports whether the client gets no answer, on a connection that stays open.
func (f mishap) holes() bool { return f.where == fault.HoldRequest || f.where == fault.HoldAnswer }

// faultKinds are all kinds, those that take seconds less often than the others, or only if holes
// says so at all.
func faultKinds(holes bool) []mishap {
	at := func(_ *ledger, kill func()) { kill() }
	around := func(l *ledger, kill func()) {
		l.background.Go(func() {
			time.Sleep(rand.N(3 * time.Millisecond)) // any moment will do
			kill()
		})
	}
	kinds := []mishap{
		{name: "cut before COMMIT", where: fault.BeforeRequest},
		{name: "cut inside COMMIT", where: fault.InRequest},
		{name: "cut inside the answer", where: fault.InAnswer},
		{name: "cut after COMMIT", where: fault.BeforeAnswer},
		{name: "backend killed in the function", killed: at},
		{name: "backend killed at random", killed: around},
		{name: "backend killed before COMMIT", killed: at, atCommit: true},
		{name: "backend killed during COMMIT", killed: around, atCommit: true},
	}
	if holes {
		all := []mishap{
			{name: "black hole before COMMIT", where: fault.HoldRequest},
			{name: "black hole after COMMIT", where: fault.HoldAnswer},
		}
		for range 4 {
			all = append(all, kinds...)
		}
		return all
	}
	return kinds
}
