package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// serializationFailure has another transaction change the second row after the first statement has
// read it.
func serializationFailure(ctx context.Context, s *scene) (cell, error) {
	s.url += "&options=-c%20default_transaction_isolation%3Dserializable"
	p, err := s.start(ctx, 2)
	if err != nil {
		return cell{}, err
	}
	runs := 0
	var other error
	err = p.transaction(ctx, s.both(&runs, func() {
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
	p, err := s.start(ctx, 2)
	if err != nil {
		return cell{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	var locked atomic.Int32
	bothLocked := make(chan struct{})
	errs := make(chan error, 2)
	for i := range 2 {
		go func() {
			runs := 0
			errs <- p.transaction(ctx, func(ctx context.Context, exec execution) error {
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
