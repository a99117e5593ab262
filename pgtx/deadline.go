package pgtx

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// The reserve is what a server-side limit stays below ctx's deadline: the statement has to get to
// the server and its cancellation back. 50 ms are a round trip to another region or a stall of
// either side; a tenth scales it for callers that have more time, so that the limit need not be
// renewed for every statement of a long transaction; more than a second is of no use to anybody.
const (
	reserveShare = 10
	reserveLeast = 50 * time.Millisecond
	reserveMost  = time.Second
)

func reserve(left time.Duration) time.Duration {
	return min(max(left/reserveShare, reserveLeast), reserveMost, left/2)
}

// statementLimit is StatementTimeout, or less if ctx ends sooner.
func (o Options) statementLimit(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok || o.StatementTimeout <= 0 {
		return o.StatementTimeout
	}
	left := time.Until(deadline)
	return min(o.StatementTimeout, max(time.Millisecond, left-reserve(left)))
}

const (
	setStatementTimeout   = `select set_config('statement_timeout', $1, true)`
	renewStatementTimeout = setStatementTimeout + ` where current_setting('statement_timeout')::interval = $2::text::interval`
)

// queuePreamble queues the preamble and returns how many statements that are. A limit that differs
// from call to call is an argument, for each new text would be prepared, in one more round trip,
// and stay in the statement cache. It is not one otherwise, because SELECT takes a snapshot.
func (o Options) queuePreamble(b *pgx.Batch, limit time.Duration) int {
	preamble := o.preamble(limit)
	for i, sql := range preamble {
		if i == 1 && limit != o.StatementTimeout {
			b.Queue(setStatementTimeout, milliseconds(limit))
			continue
		}
		b.Queue(sql)
	}
	return len(preamble)
}

// queriesLimit reports whether the preamble may have a query in it, in front of which SET
// TRANSACTION has to be.
func (s *session) queriesLimit() bool {
	_, ok := s.ctx.Deadline()
	return ok && s.opts.StatementTimeout > 0
}

// simplePrefix is how long the text before the first statement is when pgx sends a batch by the
// simple protocol.
func (o Options) simplePrefix(limit time.Duration) int {
	var b pgx.Batch
	o.queuePreamble(&b, limit)
	n := 0
	for _, q := range b.QueuedQueries {
		n += len(q.SQL) + len("\n;")
		for _, arg := range q.Arguments {
			n += len(" ''"+arg.(string)+" ") - len("$1") //nolint:forcetypeassert // milliseconds are text
		}
	}
	return n
}

// renewal is a statement that lowers the limit in force to what ctx has left now, or "" if there is
// no need: half of the reserve is enough for the way. It does nothing if somebody else has set the
// limit since, and takes effect for what follows it. The caller is inside the gate and sends it in
// front of a statement of the simple protocol.
func (s *session) renewal() string {
	if s.limit <= 0 || s.ctx == nil {
		return ""
	}
	deadline, ok := s.ctx.Deadline()
	if !ok {
		return ""
	}
	left := time.Until(deadline)
	if s.limit <= left-reserve(left)/2 {
		return ""
	}
	old := s.limit
	s.limit = s.opts.statementLimit(s.ctx)
	return strings.NewReplacer("$1", "'"+milliseconds(s.limit)+"'", "$2", "'"+milliseconds(old)+"ms'").Replace(renewStatementTimeout)
}

// renewable reports whether a statement may have a query in front of it in one text: SET
// TRANSACTION may not, and after a comment, or nothing, the query's tag would be the result.
func renewable(sql string) bool {
	sql = strings.TrimLeft(sql, " \t\r\n(")
	return len(sql) > 3 && sql[0]|0x20 >= 'a' && sql[0]|0x20 <= 'z' && !strings.EqualFold(sql[:3], "set")
}
