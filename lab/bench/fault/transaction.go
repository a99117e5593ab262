package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	faultkit "github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// transactionFaults meet a transaction that increments two rows, once each.
var transactionFaults = []fault{
	{name: "a transaction is begun on the pool inside another, one connection", waits: true, conns: 1, see: nestedOnPool},
	{name: "the connection is cut between its two statements", conns: 2, tcp: true,
		see: func(ctx context.Context, s *scene) (cell, error) {
			return s.outcome(ctx, s.transaction(ctx, s.both(s.network.Sever)))
		}},
	{name: "the connection is cut after COMMIT was done, before its answer", conns: 2, tcp: true,
		see: func(ctx context.Context, s *scene) (cell, error) {
			return s.outcome(ctx, s.transaction(ctx, s.both(func() { s.network.CutCommits(1, faultkit.BeforeAnswer) })))
		}},
	{name: "serialization failure", see: serializationFailure},
	{name: "deadlock of two", conns: 2, see: deadlock},
	{name: "its function panics, one connection", conns: 1, see: panicking},
	{name: "ctx is canceled between its statements, its function returns nil; one connection", conns: 1,
		see: canceledBetween},
	{name: "its function ignores a failed statement and returns nil", conns: 1, see: swallowed},
}

// both is the function of an ordinary transaction, in which something happens between the statements
// of its first run.
func (s *scene) both(between func()) func(context.Context, execution) error {
	runs := 0
	return func(ctx context.Context, exec execution) error {
		if err := exec(ctx, s.increment(1)); err != nil {
			return err
		}
		if runs++; runs == 1 {
			between()
		}
		return exec(ctx, s.increment(2))
	}
}

func nestedOnPool(ctx context.Context, s *scene) (cell, error) {
	took, ended, err := endless(ctx, s.limit, func(ctx context.Context) error {
		return s.transaction(ctx, func(ctx context.Context, exec execution) error {
			if err := exec(ctx, s.increment(1)); err != nil {
				return err
			}
			return s.transaction(ctx, func(ctx context.Context, exec execution) error {
				return exec(ctx, s.increment(2))
			})
		})
	})
	if !ended || err != nil {
		return waited(took, ended, err, s.limit), nil
	}
	return s.outcome(ctx, err)
}

// serializationFailure has another transaction change the second row after the first statement.
func serializationFailure(ctx context.Context, s *scene) (cell, error) {
	s.url += "&options=-c%20default_transaction_isolation%3Dserializable"
	if err := s.start(ctx, 2); err != nil {
		return cell{}, err
	}
	var other error
	err := s.transaction(ctx, s.both(func() {
		_, other = s.admin.Exec(ctx, fmt.Sprintf("update %s set n = n where id = 2", s.table))
	}))
	if other != nil {
		return cell{}, other
	}
	return s.outcome(ctx, err)
}

// deadlock runs two transactions that update the rows in opposite order, and wait for each other in
// the first runs.
func deadlock(ctx context.Context, s *scene) (cell, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	var locked atomic.Int32
	bothLocked := make(chan struct{})
	errs := make(chan error, 2)
	for i := range 2 {
		go func() {
			runs := 0
			errs <- s.transaction(ctx, func(ctx context.Context, exec execution) error {
				if err := exec(ctx, s.increment(1+i)); err != nil {
					return err
				}
				if runs++; runs == 1 {
					if locked.Add(1) == 2 {
						close(bothLocked)
					}
					select {
					case <-bothLocked:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				return exec(ctx, s.increment(2-i))
			})
		}()
	}
	first, second := <-errs, <-errs
	n, m, err := s.applied(ctx)
	switch {
	case err != nil:
		return cell{}, err
	case first == nil && second == nil && n == 2 && m == 2:
		return cell{"both succeed", right}, nil
	case (first == nil) != (second == nil) && n == 1 && m == 1:
		return cell{"one gets " + said(errors.Join(first, second)), told}, nil
	default:
		return cell{fmt.Sprintf("%s and %s, applied %d and %d times", said(first), said(second), n, m), wrong}, nil
	}
}

func panicking(ctx context.Context, s *scene) (cell, error) {
	recovered := func() (value any) {
		defer func() { value = recover() }()
		_ = s.transaction(ctx, s.both(func() { panic(errors.New("a bug in the function")) }))
		return nil
	}()
	if recovered == nil {
		return cell{"the panic is lost", wrong}, nil
	}
	return s.pool(ctx, "panics")
}

// pool looks whether the program's only connection is there again, and that nothing was applied.
func (s *scene) pool(ctx context.Context, prefix string) (cell, error) {
	took, ended, next := endless(ctx, s.limit, func(ctx context.Context) error { return s.exec(ctx, "select 1") })
	if !ended || next != nil {
		return cell{prefix + "; the next call " + waited(took, ended, next, s.limit).seen, wrong}, nil
	}
	first, second, err := s.applied(ctx)
	_, state, _ := strings.Cut(outcomeOf(context.Canceled, first, second).seen, ", ")
	c := cell{fmt.Sprintf("%s, %s; next call %s", prefix, state, after(took)), right}
	if n := s.inUse(); n != 0 {
		c = cell{c.seen + fmt.Sprintf("; %d connections lost", n), wrong}
	}
	if first != 0 || second != 0 {
		c.grade = wrong
	}
	return c, err
}

func canceledBetween(ctx context.Context, s *scene) (cell, error) {
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	err := s.transaction(short, func(ctx context.Context, exec execution) error {
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
	return s.pool(ctx, said(err)+" "+after(time.Since(began)))
}

func swallowed(ctx context.Context, s *scene) (cell, error) {
	err := s.transaction(ctx, func(ctx context.Context, exec execution) error {
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
