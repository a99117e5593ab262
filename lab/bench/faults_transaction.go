package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	faultkit "github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// transactionFaults meet a transaction that increments two rows, once each.
var transactionFaults = []fault{
	{"a transaction is begun on the pool inside another, one connection", true, nestedOnPool},
	{"the connection is cut between its two statements", false, cutBetween},
	{"the connection is cut after COMMIT was done, before its answer", false, cutCommit},
	{"serialization failure", false, serializationFailure},
	{"deadlock of two", false, deadlock},
	{"its function panics, one connection", false, panicking},
	{"ctx is canceled between its statements, its function returns nil; one connection", false, cancelledBetween},
	{"its function ignores a failed statement and returns nil", false, swallowed},
}

// both is the function of an ordinary transaction, in which something happens between the
// statements of its first run.
func (s *scene) both(runs *int, between func()) func(context.Context, execution) error {
	return func(ctx context.Context, exec execution) error {
		if err := exec(ctx, s.increment(1)); err != nil {
			return err
		}
		if *runs++; *runs == 1 {
			between()
		}
		return exec(ctx, s.increment(2))
	}
}

// outcome compares what the caller was told with what is in the database.
func (s *scene) outcome(ctx context.Context, told error) (cell, error) {
	first, second, err := s.applied(ctx)
	if err != nil {
		return cell{}, err
	}
	return outcomeOf(told, first, second), nil
}

func outcomeOf(err error, first, second int) cell {
	c := cell{said(err) + ", ", unclear}
	switch {
	case first != second:
		return cell{c.seen + fmt.Sprintf("half applied (%d and %d)", first, second), wrong}
	case first > 1:
		return cell{c.seen + fmt.Sprintf("applied %d times", first), wrong}
	case first == 1:
		c.seen += "applied once"
	default:
		c.seen += "not applied"
	}
	switch {
	case err == nil && first == 1:
		c.grade = right
	case err == nil:
		c.grade = wrong // told committed, and not there
	case first == 0 || said(err) == "`CommitUnknownError`":
		c.grade = told
	}
	return c
}

func cutBetween(ctx context.Context, s *scene) (cell, error) {
	network := s.overTCP()
	p, err := s.start(ctx, 2)
	if err != nil {
		return cell{}, err
	}
	runs := 0
	return s.outcome(ctx, p.transaction(ctx, s.both(&runs, network.Sever)))
}

func cutCommit(ctx context.Context, s *scene) (cell, error) {
	network, runs := s.overTCP(), 0
	p, err := s.start(ctx, 2)
	if err != nil {
		return cell{}, err
	}
	return s.outcome(ctx, p.transaction(ctx, s.both(&runs, func() {
		network.CutCommits(1, faultkit.BeforeAnswer)
	})))
}

func panicking(ctx context.Context, s *scene) (cell, error) {
	p, err := s.start(ctx, 1)
	if err != nil {
		return cell{}, err
	}
	runs := 0
	recovered := func() (value any) {
		defer func() { value = recover() }()
		_ = p.transaction(ctx, s.both(&runs, func() { panic(errBug) }))
		return nil
	}()
	if recovered == nil {
		return cell{"the panic is lost", wrong}, nil
	}
	return s.pool(ctx, p, "panics")
}

var errBug = errors.New("a bug in the function")

// pool looks whether the program's only connection is there again, and that nothing was applied.
func (s *scene) pool(ctx context.Context, p *program, prefix string) (cell, error) {
	took, ended, next := endless(ctx, s.limit, func(ctx context.Context) error { return p.exec(ctx, "select 1") })
	if !ended || next != nil {
		c := waited(took, ended, next, s.limit)
		return cell{prefix + "; the next call " + c.seen, wrong}, nil
	}
	first, second, err := s.applied(ctx)
	if err != nil {
		return cell{}, err
	}
	c := outcomeOf(context.Canceled, first, second)
	_, state, _ := strings.Cut(c.seen, ", ")
	seen := fmt.Sprintf("%s, %s; next call %s", prefix, state, after(took))
	if n := p.inUse(); n != 0 {
		return cell{seen + fmt.Sprintf("; %d connections lost", n), wrong}, nil
	}
	if first == 0 && second == 0 {
		return cell{seen, right}, nil
	}
	return cell{seen, wrong}, nil
}

func nestedOnPool(ctx context.Context, s *scene) (cell, error) {
	p, err := s.start(ctx, 1)
	if err != nil {
		return cell{}, err
	}
	took, ended, err := endless(ctx, s.limit, func(ctx context.Context) error {
		return p.transaction(ctx, func(ctx context.Context, exec execution) error {
			if err := exec(ctx, s.increment(1)); err != nil {
				return err
			}
			return p.transaction(ctx, func(ctx context.Context, exec execution) error {
				return exec(ctx, s.increment(2))
			})
		})
	})
	if !ended || err != nil {
		return waited(took, ended, err, s.limit), nil
	}
	return s.outcome(ctx, err)
}

func cancelledBetween(ctx context.Context, s *scene) (cell, error) {
	p, err := s.start(ctx, 1)
	if err != nil {
		return cell{}, err
	}
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	err = p.transaction(short, func(ctx context.Context, exec execution) error {
		if err := exec(ctx, s.increment(1)); err != nil {
			return err
		}
		cancel()
		_ = exec(ctx, s.increment(2))
		return nil
	})
	if err == nil {
		return s.outcome(ctx, err)
	}
	return s.pool(ctx, p, said(err)+" "+after(time.Since(began)))
}

func swallowed(ctx context.Context, s *scene) (cell, error) {
	p, err := s.start(ctx, 1)
	if err != nil {
		return cell{}, err
	}
	err = p.transaction(ctx, func(ctx context.Context, exec execution) error {
		_ = exec(ctx, s.increment(1))
		_ = exec(ctx, "select 1/0")
		_ = exec(ctx, s.increment(2))
		return nil
	})
	c, seeErr := s.outcome(ctx, err)
	if seeErr == nil && err != nil {
		if strings.Contains(err.Error(), "22012") || strings.Contains(err.Error(), "division") {
			c.seen += ", names the cause"
		} else {
			c.seen, c.grade = c.seen+", not the cause", unclear
		}
	}
	return c, seeErr
}
