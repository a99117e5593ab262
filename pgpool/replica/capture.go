package replica

import (
	"context"
	"fmt"
)

// captureSQL asks for the insert position, not for the one that is flushed: with synchronous_commit
// = off, which a transaction may set for itself, a commit returns before it is flushed.
//
// At the start of a page the insert position is already after the page's header: 24 bytes, or 40 on
// the first page of a segment. No record ends there, and a replica that has everything would not
// reach it before the next write. Such a position means the start of the page.
const captureSQL = `select s.system_identifier, ('x' || substr(pg_walfile_name(w.lsn), 1, 8))::bit(32)::bigint,
	(w.lsn - '0/0' - case
		when (w.lsn - '0/0') % pg_size_bytes(current_setting('wal_segment_size')) = 40 then 40
		when (w.lsn - '0/0') % current_setting('wal_block_size')::int = 24 then 24 else 0 end)::bigint
	from pg_control_system() s, (select pg_current_wal_insert_lsn() as lsn offset 0) w`

// Token returns the position of the primary's log: whatever was committed before the call is before
// it. It is one query on a connection of the primary's pool, and waits as long as that does. Call
// it after the commit has returned, not within the transaction, whose commit would come after it.
//
// A commit that is not flushed yet (synchronous_commit = off) is before it too. Such a commit
// reaches the replicas when the server flushes it, within three times wal_writer_delay (200 ms):
// until then readers with the token wait for [WaitLimit] and take the primary. A crash of the
// primary may lose the commit. Its token then does not count.
//
// The error is the query's; it is "recovery is in progress" (55000) where the primary's address
// leads to a standby, and [ErrUnsupported] on a server that has no such position.
func (c *Cluster) Token(ctx context.Context) (Token, error) {
	var system, timeline, lsn int64
	if err := c.primary.QueryRow(ctx, captureSQL).Scan(&system, &timeline, &lsn); err != nil {
		return Token{}, fmt.Errorf("capture the token: %w", unsupported(err))
	}
	if c.position != nil {
		c.position.noteTimeline(uint32(timeline))
	}
	return Token{system: uint64(system), timeline: uint32(timeline), lsn: uint64(lsn)}, nil
}
