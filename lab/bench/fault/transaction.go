package fault

import (
	"context"
	"fmt"
	"strings"

	faultkit "github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// transactionFaults affect a transaction that increments two rows, once each.
var transactionFaults = []fault{
	{
		name: "a transaction is begun on the pool inside another, one connection", waits: true, conns: 1,
		see: nestedOnPool,
	},
	{
		name: "the connection is cut between its two statements", conns: 2, tcp: true,
		see: func(ctx context.Context, s *scene) (cell, error) {
			return s.outcome(ctx, s.transaction(ctx, s.both(s.network.Sever)))
		},
	},
	{
		name: "the connection is cut after COMMIT was done, before its answer", conns: 2, tcp: true,
		see: func(ctx context.Context, s *scene) (cell, error) {
			return s.outcome(ctx, s.transaction(ctx, s.both(func() { s.network.CutCommits(1, faultkit.BeforeAnswer) })))
		},
	},
	{name: "serialization failure", see: serializationFailure},
	{name: "its function ignores a failed statement and returns nil", conns: 1, see: swallowed},
}

// both is the function of an ordinary transaction. A fault happens between the statements of its
// first run.
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
