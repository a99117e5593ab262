package chaos

import (
	"fmt"
	"maps"
	"slices"
)

// Outcome is the answer that a client got for its transfer.
type Outcome int

// The outcomes.
const (
	Acknowledged Outcome = iota // committed
	Refused                     // not committed, and never will be
	Unknown                     // the client cannot know
)

// Told is one transfer as its client saw it.
type Told struct {
	Transfer int64
	Outcome  Outcome
	// Resolved says whether an Unknown transfer turned out to be committed. nil: not resolved.
	Resolved *bool
}

// Line is an attempt at a transfer that was applied. Every attempt writes a line in the transaction
// that moves the money.
type Line struct {
	Transfer       int64
	Attempt        int
	Source, Target int
	Amount         int64
}

// Book is the state of the database at the end.
type Book struct {
	Lines    []Line
	Balances map[int]int64
	Opening  int64 // of each account
}

// Verdict counts transfers by what the client was told and what the database says.
type Verdict struct {
	Acknowledged, Refused, Unknown int

	Resolved       int // Unknown, and resolved afterwards
	UnknownApplied int // Unknown, never resolved, and in the book

	Lost    int // acknowledged, or resolved as committed, and not in the book
	Twice   int // in the book more than once
	Denied  int // refused, or resolved as not committed, and in the book
	Strange int // in the book, and no client made it
	Money   int // accounts whose balance is not what the lines make it, and one more if the sum is not the opening one
}

// Judge compares what the clients were told with the book.
func Judge(told []Told, book Book) Verdict {
	applied := map[int64]int{}
	want := map[int]int64{}
	for account := range book.Balances {
		want[account] = book.Opening
	}
	for _, line := range book.Lines {
		applied[line.Transfer]++
		want[line.Source] -= line.Amount
		want[line.Target] += line.Amount
	}
	var v Verdict
	known := map[int64]bool{}
	for _, t := range told {
		known[t.Transfer] = true
		v.count(t, applied[t.Transfer])
	}
	for transfer := range applied {
		if !known[transfer] {
			v.Strange++
		}
	}
	var sum int64
	for account, balance := range want {
		if got, ok := book.Balances[account]; !ok || got != balance {
			v.Money++
		}
	}
	for _, balance := range book.Balances {
		sum += balance
	}
	if sum != book.Opening*int64(len(book.Balances)) {
		v.Money++
	}
	return v
}

func (v *Verdict) count(t Told, there int) {
	if there > 1 {
		v.Twice++
	}
	is := t.Outcome
	switch t.Outcome {
	case Acknowledged:
		v.Acknowledged++
	case Refused:
		v.Refused++
	case Unknown:
		v.Unknown++
		switch {
		case t.Resolved == nil:
			if there > 0 {
				v.UnknownApplied++
			}
			return
		case *t.Resolved:
			is = Acknowledged
		default:
			is = Refused
		}
		v.Resolved++
	}
	switch {
	case is == Acknowledged && there == 0:
		v.Lost++
	case is == Refused && there > 0:
		v.Denied++
	}
}

// Broken returns the names of the broken invariants.
func (v Verdict) Broken() []string {
	counts := map[string]int{
		"acknowledged and lost": v.Lost, "applied twice": v.Twice, "denied and yet applied": v.Denied,
		"applied and never asked for": v.Strange, "accounts with a wrong balance": v.Money,
	}
	var broken []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if counts[name] != 0 {
			broken = append(broken, fmt.Sprintf("%d %s", counts[name], name))
		}
	}
	return broken
}

// Add returns the sum of both.
func (v Verdict) Add(o Verdict) Verdict {
	return Verdict{
		v.Acknowledged + o.Acknowledged, v.Refused + o.Refused, v.Unknown + o.Unknown,
		v.Resolved + o.Resolved, v.UnknownApplied + o.UnknownApplied,
		v.Lost + o.Lost, v.Twice + o.Twice, v.Denied + o.Denied, v.Strange + o.Strange, v.Money + o.Money,
	}
}
