package pgtx

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/sethvargo/go-retry"
)

// Options change how [RunWith] runs one transaction. The zero value is what [Run] uses.
//
// A nested Run cannot change what the transaction around it has begun with: TxOptions other than
// its own, Settings, StatementTimeout, LockTimeout, AttemptTimeout and IdempotencyKey are an
// [ErrOptionConflict] there and on a [pgx.Tx] as db. MaxAttempts, Backoff and RetryIf of a nested
// Run are ignored, because only the outermost Run can repeat the transaction.
type Options struct {
	// TxOptions are the isolation level, access mode and deferrable mode. A BeginQuery goes alone,
	// in a message of its own, and may be several statements, as a CommitQuery may. Defaults to
	// those of the server.
	//
	// A COMMIT without an answer is repeated with AccessMode ReadOnly, unless a statement may have
	// made the transaction read-write. A NOTIFY in it, which the server allows, may arrive twice.
	TxOptions pgx.TxOptions

	// Settings are set for the transaction only, in the flush of BEGIN, in the order of their names
	// and "role" last: app.tenant for row-level security, role, transaction_timeout and so on. They
	// leave no prepared statement behind, take no snapshot, and work behind PgBouncer. A value is
	// quoted. The value of search_path and temp_tablespaces is a list of names as in the server's
	// configuration: separated by commas, folded to lower case unless in double quotes. A list that
	// is none, a name of more than 63 bytes, and two names that differ in case only are refused.
	// Defaults to none.
	Settings map[string]string

	// MaxAttempts limits how often the function is called. 1 or a negative number means that it is
	// never called again, and a statement that was sent is never sent again; use 1 if the function
	// does what must not be repeated. One more call, without a wait, follows if a migration or
	// DISCARD ALL made a prepared statement useless. Defaults to 5: with
	// the default waits that is enough for the conflicts of about a dozen writers of the same rows,
	// and it takes about half a second to give up. Of 36 such writers, 12 % give up.
	MaxAttempts int

	// Backoff makes the waits between the attempts of one call. It is called once a call, because a
	// [retry.Backoff] holds state. A backoff that stops ends the attempts. Defaults to exponential
	// waits with full jitter: at most 25, 50, 100, … ms, and at most 1 s.
	Backoff func() retry.Backoff

	// RetryIf decides whether the function is called again after an attempt that was rolled back
	// with err. retryable is what Run would do. Return retryable || … to widen it (to a unique
	// violation, say) and retryable && … to narrow it. It is not asked after an unknown or
	// successful COMMIT, after the end of ctx, and after a COMMIT or ROLLBACK of the function's
	// own. Defaults to retryable.
	RetryIf func(err error, retryable bool) bool

	// Name is what observers and tracers call the transaction: a constant like "transfer", not a
	// value. See [Report], [LogTo] and [Name]. Defaults to the name of the Run around it.
	Name string

	// Observe is called after every attempt, in Run's goroutine and with Run's ctx. It should be
	// quick, and safe for concurrent use if Runs are concurrent. [LogTo] makes one for slog.
	// Defaults to the observer of the Run around it, or none, at no cost.
	Observe func(ctx context.Context, r Report)

	// Timeout limits the whole call, with all attempts and the waits between them. It ends the ctx
	// of the function with [ErrTimeout] as its cause. Like any end of ctx it means rollback unless
	// COMMIT is already under way. A statement that it cuts off costs the connection: set
	// StatementTimeout too, however long. A nested Run may have a shorter one. Defaults to no limit
	// but ctx.
	Timeout time.Duration

	// AttemptTimeout limits each attempt, the acquire included. It ends the ctx of the function
	// with [ErrAttemptTimeout] as its cause, and an attempt that has not come to COMMIT is rolled
	// back and repeated. It is for a server that stops answering without breaking the connection,
	// like a frozen one, whose kernel goes on answering keepalives. A backend that was left behind
	// with its locks is ended, if the server can be reached and the role may do that. Set it well
	// above what the function takes, and Timeout above several of it. COMMIT has 5 s more. Defaults
	// to no limit.
	AttemptTimeout time.Duration

	// AcquireTimeout limits how long each attempt waits for a connection of the pool; the error is
	// [ErrAcquireTimeout]. A db without Acquire ignores it. Defaults to no limit but ctx.
	AcquireTimeout time.Duration

	// StatementTimeout and LockTimeout limit, in the server, how long a statement runs and how long
	// it waits for a lock. They apply from the first statement on, its preparation included. They
	// are rounded up to whole milliseconds, at most 24 days; a negative one switches the server's
	// limit off. A statement that exceeds them fails with 57014 or 55P03 and leaves the connection
	// in order.
	//
	// A positive StatementTimeout is lowered once, with BEGIN, to what is left before the deadline
	// of ctx or Timeout but for a reserve, so that the server cancels a statement that would
	// otherwise cost the connection. The reserve is a tenth of what is left, at least 50 ms and at
	// most 1 s, but never more than half.
	//
	// Default to the server's settings.
	StatementTimeout time.Duration
	LockTimeout      time.Duration

	// VerifyCommit asks the server what happened when COMMIT got no answer. The transaction's id is
	// read in the flush of BEGIN; if COMMIT breaks, a new connection is asked about it. Committed
	// means nil and the AfterCommit hooks are called; rolled back means another attempt; an outcome
	// that stays unknown for VerifyTimeout is a [*CommitUnknownError] that says why. See
	// [CommitUnknownError.Resolve].
	//
	// Every transaction gets an id and writes some 40 bytes of WAL at COMMIT, even one that only
	// reads. The question is the transaction's first query: a later SET TRANSACTION ISOLATION LEVEL
	// fails, and under REPEATABLE READ and above it fixes the snapshot. Without transaction ids
	// the transaction fails with [ErrVerifyUnsupported]. It has no effect with AccessMode ReadOnly,
	// nor in a nested Run.
	VerifyCommit bool

	// VerifyTimeout limits how long Run keeps asking after a COMMIT without an answer, even after
	// ctx is done. A negative one leaves it to [CommitUnknownError.Resolve]. Defaults to 10 s.
	VerifyTimeout time.Duration

	// IdempotencyKey makes the transaction one that commits once among all with the same key, in
	// every process and across failovers. It needs the table of [IdempotencyTableSQL], in which a
	// row with the key is inserted before the function is called, in one round trip with BEGIN.
	//
	// If a transaction with the key has committed, the function and the hooks are not called, and
	// the result is the first one's: nil, and from [ValueWith] its value, which is stored as JSON
	// in one more statement. Run waits for a transaction with the key that is in progress. One that
	// failed leaves no key. A COMMIT without an answer is resolved by looking for the row, on any
	// server that took over.
	//
	// Make the key of who asks and what for, as in "payment:" + requestID: two different functions
	// must not share a key. It must be empty with AccessMode ReadOnly. Defaults to none.
	IdempotencyKey string

	// Fingerprint identifies the request that the IdempotencyKey stands for: a hash of its content,
	// for instance. The same key with another fingerprint is an [ErrKeyReused]. Defaults to "",
	// which is not compared.
	Fingerprint string

	// replay decodes the result stored with the key, for ValueWith.
	replay func(stored *string) error
	// result encodes the result to be stored with the key.
	result func() (string, error)
	// kind is that of the report.
	kind kind

	// Nesting says what happens inside the function of another Run on the same database. Defaults
	// to [Savepoint].
	Nesting Nesting

	// Eager sends BEGIN before the function is called, in a round trip of its own. A lazy
	// transaction takes no connection and sends nothing until its first statement, with which BEGIN
	// travels; an error of the acquire or of BEGIN is then the first statement's error. Set it
	// where the snapshot or the connection must be taken before the function does slow work of
	// other kinds. A db without Acquire, like a single connection, is always eager. Defaults to
	// lazy.
	Eager bool
}

const (
	defaultMaxAttempts   = 5
	defaultVerifyTimeout = 10 * time.Second
)

func (o Options) maxAttempts() int {
	switch {
	case o.MaxAttempts == 0:
		return defaultMaxAttempts
	case o.MaxAttempts < 0:
		return 1
	default:
		return o.MaxAttempts
	}
}

func (o Options) verifyTimeout() time.Duration {
	if o.VerifyTimeout == 0 {
		return defaultVerifyTimeout
	}
	return o.VerifyTimeout
}

// verifies reports whether the transaction asks for its id. One that writes nothing has no outcome
// to lose.
func (o Options) verifies() bool {
	return o.VerifyCommit && o.TxOptions.AccessMode != pgx.ReadOnly
}

// maxIdentifier is NAMEDATALEN - 1.
const maxIdentifier = 63

// validate refuses options that cannot work.
func (o Options) validate() error {
	switch {
	case o.IdempotencyKey != "" && o.TxOptions.AccessMode == pgx.ReadOnly:
		return errors.New("an idempotency key cannot be written with AccessMode ReadOnly")
	case o.IdempotencyKey == "" && o.Fingerprint != "":
		return errors.New("a fingerprint needs an IdempotencyKey")
	}
	seen := make(map[string]string, len(o.Settings))
	for name, value := range o.Settings {
		lower := strings.ToLower(name)
		if other, ok := seen[lower]; ok {
			return fmt.Errorf("settings %q and %q are the same one", min(name, other), max(name, other))
		}
		seen[lower] = name
		tooLong := func(part string) bool { return len(part) > maxIdentifier }
		switch _, err := settingValue(name, value); {
		case err != nil:
			return fmt.Errorf("setting %q: %w", name, err)
		case slices.ContainsFunc(strings.Split(name, "."), tooLong):
			return fmt.Errorf("setting %q: the server cuts names off after %d bytes", name, maxIdentifier)
		case lower == "transaction_read_only" && o.TxOptions.AccessMode == pgx.ReadOnly:
			return fmt.Errorf("setting %q contradicts AccessMode ReadOnly", name)
		case name == "" || strings.ContainsRune(name+value, 0):
			return fmt.Errorf("setting %q: an empty name, or a zero byte", name)
		case lower == "statement_timeout" && o.StatementTimeout != 0, lower == "lock_timeout" && o.LockTimeout != 0:
			return fmt.Errorf("setting %q is also set by an option of its own", name)
		}
	}
	return nil
}

// inherit returns o with the name and the observer of the function around it, unless it has its
// own.
func (o Options) inherit(parent *tx) Options {
	if o.Name == "" {
		o.Name = parent.name
	}
	if o.Observe == nil {
		o.Observe = parent.session.opts.Observe
	}
	return o
}

// compatible returns an error if a nested Run asks for what the transaction around it is not.
func (o Options) compatible(outer pgx.TxOptions) error {
	in := o.TxOptions
	switch {
	case o.IdempotencyKey != "":
		return optionConflict("idempotency key", "set", "begun already")
	case len(o.Settings) > 0:
		return optionConflict("settings", "set", "begun already")
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

// prelude is what begins a transaction: BEGIN, the limits and the settings.
func (o Options) prelude(ctx context.Context) []string {
	begin := beginSQL(o.TxOptions)
	if o.TxOptions.BeginQuery != "" {
		begin += "\n" // a comment at its end must not swallow what follows
	}
	statements := append(make([]string, 0, 4), begin)
	statements = append(statements, o.setLimits(ctx)...)
	if o.IdempotencyKey != "" {
		return statements // the key's row is written before the role and the search_path change
	}
	return append(statements, o.setAll()...)
}

// beginSQL is what pgx sends for txOptions.
func beginSQL(txOptions pgx.TxOptions) string {
	if txOptions == (pgx.TxOptions{}) {
		return "begin"
	}
	var b pgx.Batch
	b.BeginTx(txOptions)
	return b.QueuedQueries[0].SQL
}

// maxLimit is the most that the server takes, 24 days.
const maxLimit = math.MaxInt32 * time.Millisecond

func (o Options) setLimits(ctx context.Context) (statements []string) {
	if limit := o.statementLimit(ctx); limit != 0 {
		statements = append(statements, "set local statement_timeout = "+milliseconds(min(limit, maxLimit)))
	}
	if o.LockTimeout != 0 {
		statements = append(statements, "set local lock_timeout = "+milliseconds(min(o.LockTimeout, maxLimit)))
	}
	return statements
}

// setAll are the statements for Settings. The role is last, because it may not be allowed to set
// the others.
func (o Options) setAll() (statements []string) {
	if len(o.Settings) == 0 {
		return nil
	}
	names := make([]string, 0, len(o.Settings))
	for name := range o.Settings {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		switch aRole, bRole := strings.EqualFold(a, "role"), strings.EqualFold(b, "role"); {
		case aRole && !bRole:
			return 1
		case bRole && !aRole:
			return -1
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		quoted := pgx.Identifier(strings.Split(name, ".")).Sanitize()
		value, _ := settingValue(name, o.Settings[name]) // validated
		statements = append(statements, "set local "+quoted+" = "+value)
	}
	return statements
}

// settingValue quotes a value. PostgreSQL takes one string for search_path as one name, so that a
// list has to be quoted name by name.
func settingValue(name, value string) (string, error) {
	if !strings.EqualFold(name, "search_path") && !strings.EqualFold(name, "temp_tablespaces") {
		return quote(value), nil
	}
	names, err := splitNames(value)
	for i := range names {
		names[i] = quote(names[i])
	}
	if len(names) == 0 {
		return "''", err
	}
	return strings.Join(names, ", "), err
}

var errNames = errors.New(`not a list of names: separate them by commas, and put a name with other characters in "…"`)

// splitNames reads a list of names as the server does: in double quotes a name may hold anything,
// and a doubled quote is one; without them it is folded to lower case.
func splitNames(list string) (names []string, err error) {
	rest := strings.TrimSpace(list)
	for rest != "" {
		var name string
		if rest[0] == '"' {
			for name = `"`; strings.HasPrefix(rest, `"`); { // of a doubled quote, the second
				part, after, closed := strings.Cut(rest[1:], `"`)
				if !closed {
					return nil, errNames
				}
				name, rest = name+part+`"`, after
			}
			name = name[1 : len(name)-1]
		} else {
			end := strings.IndexAny(rest, ", \t\r\n\f\v\"")
			if end < 0 {
				end = len(rest)
			}
			name, rest = strings.Map(lowerASCII, rest[:end]), rest[end:]
		}
		if name == "" || len(name) > maxIdentifier {
			return nil, errNames
		}
		names = append(names, name)
		if rest = strings.TrimSpace(rest); rest == "" {
			break
		}
		if rest[0] != ',' {
			return nil, errNames
		}
		if rest = strings.TrimSpace(rest[1:]); rest == "" {
			return nil, errNames
		}
	}
	return names, nil
}

func lowerASCII(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

// quote makes a literal that means the same whatever standard_conforming_strings is.
func quote(value string) string {
	literal := "'" + strings.ReplaceAll(value, "'", "''") + "'"
	if strings.Contains(value, `\`) {
		return "E" + strings.ReplaceAll(literal, `\`, `\\`)
	}
	return literal
}

// milliseconds rounds up, because 0 means no limit to the server; a negative limit is none.
func milliseconds(limit time.Duration) string {
	if limit < 0 {
		return "0"
	}
	whole := int64(limit / time.Millisecond)
	if limit%time.Millisecond > 0 {
		whole++
	}
	return strconv.FormatInt(whole, 10)
}

// The reserve keeps a server-side limit below ctx's deadline: the statement has to get to the
// server and its cancellation back. 50 ms are a round trip to another region or a stall of either
// side, and a tenth scales that for callers that have more time.
const (
	reserveShare = 10
	reserveLeast = 50 * time.Millisecond
	reserveMost  = time.Second
)

// statementLimit is StatementTimeout, or less if ctx ends sooner.
func (o Options) statementLimit(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok || o.StatementTimeout <= 0 {
		return o.StatementTimeout
	}
	left := time.Until(deadline)
	reserve := min(max(left/reserveShare, reserveLeast), reserveMost, left/2)
	return min(o.StatementTimeout, max(time.Millisecond, left-reserve))
}

// limit gives ctx the Timeout. The error is to be passed through the function that comes with it;
// o's observer is told the same.
func (o *Options) limit(ctx context.Context) (context.Context, context.CancelFunc, func(error) error) {
	if o.Timeout <= 0 {
		return ctx, func() {}, func(err error) error { return err }
	}
	called := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, ErrTimeout)
	explain := func(err error) error {
		// pgx reports that ctx ended, but not why.
		ended := errors.Is(context.Cause(ctx), ErrTimeout) && errors.Is(err, context.DeadlineExceeded)
		if ended && !errors.Is(err, ErrTimeout) {
			return phaseRun.in(called, fmt.Errorf("%w: %w", ErrTimeout, err))
		}
		return err
	}
	if observe := o.Observe; observe != nil {
		o.Observe = func(ctx context.Context, r Report) {
			r.Err = explain(r.Err)
			observe(ctx, r)
		}
	}
	return ctx, cancel, explain
}

// limitAttempt gives ctx the AttemptTimeout.
func (o Options) limitAttempt(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.AttemptTimeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, o.AttemptTimeout, ErrAttemptTimeout)
}
