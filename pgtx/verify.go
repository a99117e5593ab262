package pgtx

import (
	"context"
	"fmt"
)

// verify finds out what became of a transaction whose COMMIT was not answered.
func (s *session) verify(ctx context.Context, db DB, unknown *CommitUnknownError) (again bool, err error) {
	unknown.XID, unknown.Server, unknown.Key = s.xid, s.server(), s.opts.IdempotencyKey
	if unknown.XID == "" && unknown.Key == "" || s.opts.VerifyTimeout < 0 {
		return false, unknown
	}
	// The function's caller may have gone, but the answer is worth having.
	committed, err := unknown.resolve(context.WithoutCancel(ctx), db, s.opts.verifyTimeout())
	switch {
	case err != nil:
		unknown.Unresolved = err
		return false, unknown
	case committed:
		s.unknown = false
		return false, nil
	}
	s.unknown = false
	err = fmt.Errorf("commit: rolled back, as the server says: %w", unknown.Err)
	return !isClosedConn(db) && s.again(err, true), err
}
