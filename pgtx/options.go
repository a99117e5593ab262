package pgtx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/sethvargo/go-retry"
)

// Options change how [RunWith] runs one transaction. [Run] uses the zero value.
//
// A nested Run cannot change a transaction that has begun. TxOptions that differ, Settings,
// StatementTimeout, LockTimeout, AttemptTimeout and IdempotencyKey are an [ErrOptionConflict]
// there, and on a [pgx.Tx] as db. MaxAttempts, Backoff and RetryIf of a nested Run have no effect,
// because only the outermost Run can repeat the transaction.
type Options struct {
	// TxOptions are the isolation level, access mode and deferrable mode. BeginQuery and
	// CommitQuery may be several statements. A BeginQuery is sent in a message of its own.
	//
	// With AccessMode ReadOnly, a COMMIT without an answer is repeated, unless a statement may have
	// made the transaction read-write. A NOTIFY, which the server allows there, may arrive twice.
	// Defaults to the server's settings.
	TxOptions pgx.TxOptions

	// Settings are set for this transaction only: app.tenant for row-level security, role,
	// transaction_timeout and so on. They are sent with BEGIN, in the order of their names, "role"
	// last. They leave no prepared statement behind, take no snapshot, and work behind PgBouncer.
	//
	// Values are quoted. search_path and temp_tablespaces take a list of names: separated by
	// commas, and folded to lower case unless in double quotes. Anything else in a list, a name of
	// more than 63 bytes, and two names that differ only in case are refused. Defaults to none.
	Settings map[string]string

	// Nesting says what happens inside the function of another Run on the same database. Defaults
	// to [Savepoint].
	Nesting Nesting

	// Eager sends BEGIN before the function is called, in a round trip of its own. Otherwise a
	// transaction takes no connection and sends nothing before its first statement, and that
	// statement returns an error of the acquire or of BEGIN. Set Eager if the function does slow
	// work first and needs an early snapshot. A single connection is always eager. Defaults to
	// false.
	Eager bool

	// MaxAttempts limits how often the function is called. With 1 or a negative number it is never
	// called again, and a statement that was sent is never sent again: use 1 if the function does
	// what must not be repeated. A repetition because a migration made a prepared statement useless
	// does not count, up to once for each connection of a pool.
	//
	// Defaults to 5. With the default waits that takes about half a second, and is enough for the
	// conflicts of a dozen writers of the same rows. Of 36 such writers, 12 % give up.
	MaxAttempts int

	// Backoff makes the waits between the attempts of one call. It is called once a call, because a
	// [retry.Backoff] holds state. A backoff that stops ends the attempts. Defaults to exponential
	// waits with full jitter: at most 25, 50, 100, … ms, and never more than 1 s.
	Backoff func() retry.Backoff

	// RetryIf decides whether the function is called again after an attempt that was rolled back
	// with err. retryable is what Run would do. Return retryable || … to repeat more (after a
	// unique violation, say) and retryable && … to repeat less. It is not asked after an unknown or
	// successful COMMIT, after the end of ctx, and after the function's own COMMIT or ROLLBACK.
	// Defaults to retryable.
	RetryIf func(err error, retryable bool) bool

	// Timeout limits the whole call, with all attempts and waits. It ends the function's ctx with
	// [ErrTimeout] as the cause. Like any end of ctx it means rollback, unless COMMIT is already
	// under way. Cutting off a statement costs the connection: set StatementTimeout too, however
	// long. A nested Run may have a shorter Timeout. Defaults to no limit but ctx.
	Timeout time.Duration

	// AttemptTimeout limits each attempt, with its acquire. It ends the function's ctx with
	// [ErrAttemptTimeout] as the cause. An attempt that has not come to COMMIT is rolled back and
	// repeated; COMMIT has 5 s more. It helps against a server that stops answering without
	// breaking the connection. A backend that was left behind with its locks is terminated, if the
	// server can be reached and the role may do that. Set it well above what the function takes,
	// and Timeout several times higher. Defaults to no limit.
	AttemptTimeout time.Duration

	// AcquireTimeout limits how long each attempt waits for a connection of the pool. The error is
	// [ErrAcquireTimeout]. Defaults to no limit but ctx.
	AcquireTimeout time.Duration

	// StatementTimeout and LockTimeout are limits of the server for one statement, and for its wait
	// for one lock. They apply to the first statement and its preparation too. They are rounded up
	// to whole milliseconds, at most 24 days; a negative one switches the server's limit off. A
	// statement that exceeds them fails with 57014 or 55P03, and the connection stays usable.
	//
	// BEGIN lowers a positive StatementTimeout to the time that is left before the deadline of ctx
	// or Timeout, less a reserve. So the server cancels a statement that would otherwise cost the
	// connection. The reserve is a tenth of what is left, at least 50 ms and at most 1 s, but never
	// more than half. Defaults to the server's settings.
	StatementTimeout time.Duration
	LockTimeout      time.Duration

	// VerifyCommit asks the server what happened when COMMIT got no answer. If it committed, Run
	// returns nil and calls the AfterCommit hooks. If it rolled back, Run repeats it. If the
	// outcome stays unknown for VerifyTimeout, the error is a [*CommitUnknownError] that says why.
	// See [CommitUnknownError.Resolve].
	//
	// The transaction's id is read in the flush of BEGIN. So every transaction gets an id and
	// writes some 40 bytes of WAL at COMMIT, even one that only reads. The read is the
	// transaction's first query: a later SET TRANSACTION ISOLATION LEVEL fails, and from REPEATABLE
	// READ on it fixes the snapshot. On PostgreSQL 14 it takes a millisecond or two. A server
	// without transaction ids causes [ErrVerifyUnsupported]. No effect with AccessMode ReadOnly, or
	// in a nested Run. Defaults to false.
	VerifyCommit bool

	// VerifyTimeout limits how long Run keeps asking after a COMMIT without an answer, even after
	// ctx is done. A negative one leaves it to [CommitUnknownError.Resolve]. Defaults to 10 s.
	VerifyTimeout time.Duration

	// IdempotencyKey lets only one transaction with the key commit, in all processes and across
	// failovers. It needs the table of [IdempotencyTableSQL]. A row with the key is inserted before
	// the function is called, in the round trip of BEGIN.
	//
	// If a transaction with the key has committed, Run returns nil and calls neither the function
	// nor the hooks. [ValueWith] returns the first one's value, which is stored as JSON in one more
	// statement. Run waits for a transaction with the key that is in progress. One that failed
	// leaves no key. After a COMMIT without an answer Run looks for the row, on any server that
	// took over.
	//
	// Make the key of the purpose and the request, as in "payment:" + requestID: two different
	// functions must not share a key. It must be empty with AccessMode ReadOnly. Defaults to none.
	IdempotencyKey string

	// Fingerprint identifies the request that the IdempotencyKey stands for: a hash of its content,
	// for instance. The same key with another fingerprint is an [ErrKeyReused]. Defaults to "",
	// which is not compared.
	Fingerprint string

	// Name names the transaction for observers and tracers: a constant like "transfer". See
	// [Report], [LogTo] and [Name]. Defaults to the name of the Run around it.
	Name string

	// Observe is called after every attempt, in Run's goroutine and with Run's ctx. It should be
	// quick, and safe for concurrent use if Runs are concurrent. [LogTo] makes one for slog.
	// Defaults to the observer of the Run around it, or none, at no cost.
	Observe func(ctx context.Context, r Report)

	result func() (string, error)     // encodes the result to be stored with the key
	replay func(stored *string) error // decodes the result that was stored with the key
	kind   string                     // of an outermost call; see Report
}

const (
	defaultMaxAttempts   = 5
	defaultVerifyTimeout = 10 * time.Second
)

func (o Options) maxAttempts() int {
	if o.MaxAttempts == 0 {
		return defaultMaxAttempts
	}
	return max(1, o.MaxAttempts)
}

func (o Options) verifyTimeout() time.Duration {
	return cmp.Or(o.VerifyTimeout, defaultVerifyTimeout)
}

// verifies reports whether the transaction reads its id. A transaction that writes nothing has no
// outcome to lose.
func (o Options) verifies() bool {
	return o.VerifyCommit && o.TxOptions.AccessMode != pgx.ReadOnly
}

// validate refuses options that cannot work.
func (o Options) validate() error {
	switch {
	case o.IdempotencyKey != "" && o.TxOptions.AccessMode == pgx.ReadOnly:
		return errors.New("an idempotency key cannot be written with AccessMode ReadOnly")
	case o.IdempotencyKey == "" && o.Fingerprint != "":
		return errors.New("a fingerprint needs an IdempotencyKey")
	}
	return o.validateSettings()
}

// inherit returns o with the name and observer of the function around it, unless o has its own.
func (o Options) inherit(parent *tx) Options {
	if o.Name == "" {
		o.Name = parent.name
	}
	if o.Observe == nil {
		o.Observe = parent.attempt.opts.Observe
	}
	return o
}

// compatible returns an error if a nested Run asks for something that the transaction around it is
// not.
func (o Options) compatible(outer pgx.TxOptions) error {
	in := o.TxOptions
	for _, field := range []struct {
		name    string
		differs bool
	}{
		{"IdempotencyKey", o.IdempotencyKey != ""},
		{"Settings", len(o.Settings) > 0},
		{"StatementTimeout", o.StatementTimeout != 0},
		{"LockTimeout", o.LockTimeout != 0},
		{"AttemptTimeout", o.AttemptTimeout > 0},
		{"IsoLevel " + string(in.IsoLevel), in.IsoLevel != "" && in.IsoLevel != outer.IsoLevel},
		{"AccessMode " + string(in.AccessMode), in.AccessMode != "" && in.AccessMode != outer.AccessMode},
		{
			"DeferrableMode " + string(in.DeferrableMode),
			in.DeferrableMode != "" && in.DeferrableMode != outer.DeferrableMode,
		},
		{"BeginQuery", in.BeginQuery != "" && in.BeginQuery != outer.BeginQuery},
		{"CommitQuery", in.CommitQuery != "" && in.CommitQuery != outer.CommitQuery},
	} {
		if field.differs {
			return fmt.Errorf("%w: set %s on the outermost Run", ErrOptionConflict, field.name)
		}
	}
	return nil
}

// withLimit gives ctx a limit, if there is one, with the cause of its end.
func withLimit(ctx context.Context, limit time.Duration, cause error) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, limit, cause)
}

// nameTimeout names the Timeout in an error that only says that ctx ended.
func (o Options) nameTimeout(ctx context.Context, err error) error {
	if o.Timeout <= 0 {
		return err
	}
	named := nameLimit(ctx, ErrTimeout, err)
	if named == err { //nolint:errorlint // the same value
		return err
	}
	deadline, _ := ctx.Deadline()
	return phaseRun.in(deadline.Add(-o.Timeout), named)
}

// nameLimit adds limit to an error that only says that ctx ended, if limit ended ctx: pgx does not
// say why.
func nameLimit(ctx context.Context, limit, err error) error {
	if exceeds(ctx, limit, err) && !errors.Is(err, limit) {
		return fmt.Errorf("%w: %w", limit, err)
	}
	return err
}

// exceeds reports whether limit has ended ctx and err is that end. An error of another kind, met
// when the time was already over, stands for itself.
func exceeds(ctx context.Context, limit, err error) bool {
	return errors.Is(context.Cause(ctx), limit) && errors.Is(err, context.DeadlineExceeded)
}
