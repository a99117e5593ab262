package pgtx

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// DefaultMaxAttempts is how often Run calls the function at most. With the waits between them (see
// [Run]) five attempts outlast the deadlocks and serialization failures of a few dozen writers of
// the same rows, and give up within about half a second when the conflict is permanent.
const DefaultMaxAttempts = 5

// Options change how [RunWith] runs one transaction. The zero value is what [Run] uses.
type Options struct {
	// TxOptions are the isolation level, access mode and deferrable mode. The zero value sends a
	// plain BEGIN: the server's defaults. In a nested Run they must be zero or say what the
	// outermost one said, for a savepoint cannot change them; on a pgx.Tx as db they must be zero.
	TxOptions pgx.TxOptions

	// MaxAttempts is how often the function is called at most. 0 means [DefaultMaxAttempts]; 1 or a
	// negative number means that it is never called again. Set 1 when the function does what must
	// not be repeated. A nested Run has one attempt whatever it asks for: the outermost repeats the
	// whole.
	MaxAttempts int

	// RetryIf, if set, decides whether the function is called again after an attempt that was
	// rolled back with err. retryable is what Run would do by itself. Return retryable || … to
	// widen it (to a unique violation, say) and retryable && … to narrow it. It is not asked after
	// an unknown or successful COMMIT, after the end of ctx, and after a COMMIT or ROLLBACK of the
	// function's own. A nested Run does not ask its own: the outermost repeats the whole.
	RetryIf func(err error, retryable bool) bool

	// Name is what observers and tracers know the transaction by: a constant like "transfer", not a
	// value. See [Report], [LogTo] and [Name]. A nested Run without one has that of the Run around
	// it.
	Name string

	// Observe, if set, is called after every attempt, in Run's goroutine and with Run's ctx, so
	// that it should be quick; it must be safe for concurrent use if Runs are concurrent. [LogTo]
	// makes one for slog. A nested Run without one uses that of the Run around it. Unset it costs
	// nothing.
	Observe func(ctx context.Context, r Report)

	// Timeout is how long the whole call may take, with all attempts and the waits between them; 0
	// or negative means as long as ctx. It ends the ctx of the function with [ErrTimeout] as its
	// cause. Like any end of ctx it means rollback unless COMMIT is already under way. A statement
	// it cuts off costs the connection: set StatementTimeout too, however long. A nested Run may
	// have a shorter one.
	Timeout time.Duration

	// AttemptTimeout is how long each attempt may take, acquire included; 0 or negative means as
	// long as the call. It ends the ctx of the function with [ErrAttemptTimeout] as its cause, and
	// what has not come to COMMIT is rolled back and repeated. It is for a server that stops
	// answering and breaks no connection, as a frozen one, whose kernel goes on answering
	// keepalives: without it the call waits there until Timeout, while another server has taken
	// over. Set it well above what the function takes, and Timeout above several of it. A COMMIT
	// under way has 5 s more. It must be 0 in a nested Run and on a pgx.Tx, where it is an
	// [ErrOptionConflict], and has no effect on Atomic, unless that is sent inside a Run.
	AttemptTimeout time.Duration

	// AcquireTimeout is how long each attempt waits for a connection of the pool at most; then the
	// error is [ErrAcquireTimeout]. 0 or negative means as long as ctx. It has no effect on a
	// connection as db, nor on a db without Acquire.
	AcquireTimeout time.Duration

	// StatementTimeout and LockTimeout are sent as SET LOCAL in the flush of BEGIN: how long the
	// server lets a statement run, and wait for a lock, rounded up to whole milliseconds. 0 leaves
	// the server's setting, a negative one switches the limit off. A statement that exceeds them
	// fails with 57014 or 55P03 and leaves the connection in order. They must be 0 in a nested Run
	// and on a pgx.Tx: there they are an [ErrOptionConflict].
	//
	// If ctx or Timeout has a deadline, a positive StatementTimeout is at most what is left of it
	// but for a reserve, so that the server cancels the statement and the connection survives,
	// where the client would have to break it. The reserve is a tenth of what is left, at least 50
	// ms and at most 1 s, but never more than half. It is taken anew, in the same flush, when a
	// nested Run sets its savepoint, with SendBatch and with an Exec without arguments. A statement
	// with arguments, CopyFrom and Prepare keep the limit of the last of these; the deadline of
	// another ctx than Run's is not looked at. A statement_timeout that the function sets itself
	// stands.
	StatementTimeout time.Duration
	LockTimeout      time.Duration

	// VerifyCommit has the outcome of a COMMIT that was not answered found out. The transaction's
	// id is asked for in the flush of BEGIN; if COMMIT breaks, a new connection is asked what
	// became of it. Committed means nil, and the AfterCommit hooks are called; rolled back means
	// another attempt; what cannot be known within VerifyTimeout is a [*CommitUnknownError] that
	// says why. See [CommitUnknownError.Resolve] for how it is found out. It has no effect with
	// AccessMode ReadOnly; a nested Run inherits it from the outermost. Every transaction gets an
	// id and writes some 40 bytes of WAL at COMMIT, also one that only reads. The probe is the
	// transaction's first query: a SET TRANSACTION of the function comes too late, and under
	// REPEATABLE READ and above it fixes the snapshot. On a server without transaction ids the
	// transaction fails with [ErrVerifyUnsupported].
	VerifyCommit bool

	// VerifyTimeout is how long a broken COMMIT is inquired after, beyond the end of ctx if need
	// be. 0 means [DefaultVerifyTimeout], a negative one that it is left to
	// [CommitUnknownError.Resolve].
	VerifyTimeout time.Duration

	// IdempotencyKey, if set, makes the transaction one that commits once among all with the same
	// key, in every process and across failovers. A row with the key, in a table that
	// [IdempotencyTableSQL] creates, is inserted with BEGIN, before the function is called, in a
	// round trip like that of Eager. If a transaction with the key has committed, the function is
	// not called, nor are hooks, and the result is the first one's: nil, and with [ValueWith] its
	// value, which is stored as JSON with the key (in one more statement). One with the key that is
	// in progress is waited for. One that failed has left no key. A broken COMMIT is resolved by
	// looking for the row, on any server that took over; see [CommitUnknownError.Resolve].
	//
	// Make it of who asks and what for, as in "payment:" + requestID: two different functions must
	// not share a key. It must be empty in a nested Run, on a pgx.Tx and with AccessMode ReadOnly.
	IdempotencyKey string

	replay func(result *string) error // of ValueWith

	// Nesting says what happens inside the function of another Run on the same database. The
	// default is [Savepoint].
	Nesting Nesting

	// Eager sends BEGIN before the function is called, in a round trip of its own. The default,
	// false, is lazy where db has an Acquire method, as a pool has: no connection is taken and
	// nothing is sent until the first statement, which carries BEGIN in the same flush. An error of
	// the acquire or of BEGIN is then the first statement's error. Set it where the snapshot or the
	// connection must be taken before the function does slow work of other kinds, or where db's own
	// BeginTx must be used. A connection as db is always eager.
	Eager bool
}

func (o Options) maxAttempts() int {
	switch {
	case o.MaxAttempts == 0:
		return DefaultMaxAttempts
	case o.MaxAttempts < 0:
		return 1
	default:
		return o.MaxAttempts
	}
}

func (o Options) verifyTimeout() time.Duration {
	if o.VerifyTimeout == 0 {
		return DefaultVerifyTimeout
	}
	return o.VerifyTimeout
}

// compatible reports an error if a nested Run asks for what the transaction around it is not.
func (o Options) compatible(outer pgx.TxOptions) error {
	in := o.TxOptions
	switch {
	case o.IdempotencyKey != "":
		return optionConflict("idempotency key", "set", "begun already")
	case o.StatementTimeout != 0:
		return optionConflict("statement timeout", o.StatementTimeout.String(), "set already")
	case o.AttemptTimeout > 0:
		return optionConflict("attempt timeout", o.AttemptTimeout.String(), "set already")
	case o.LockTimeout != 0:
		return optionConflict("lock timeout", o.LockTimeout.String(), "set already")
	case in.IsoLevel != "" && in.IsoLevel != outer.IsoLevel:
		return optionConflict("isolation level", string(in.IsoLevel), string(outer.IsoLevel))
	case in.AccessMode != "" && in.AccessMode != outer.AccessMode:
		return optionConflict("access mode", string(in.AccessMode), string(outer.AccessMode))
	case in.DeferrableMode != "" && in.DeferrableMode != outer.DeferrableMode:
		return optionConflict("deferrable mode", string(in.DeferrableMode), string(outer.DeferrableMode))
	case in.BeginQuery != "" && in.BeginQuery != outer.BeginQuery:
		return optionConflict("begin query", in.BeginQuery, outer.BeginQuery)
	case in.CommitQuery != "" && in.CommitQuery != outer.CommitQuery:
		return optionConflict("commit query", in.CommitQuery, outer.CommitQuery)
	}
	return nil
}

func optionConflict(what, inner, outer string) error {
	if outer == "" {
		outer = "the default"
	}
	return fmt.Errorf("%w: %s is %s here and %s in the transaction around it; set it on the outermost Run",
		ErrOptionConflict, what, inner, outer)
}
