package pgtx

import (
	"fmt"

	"github.com/jackc/pgx/v5"
)

// DefaultMaxAttempts is how often Run calls the function at most. With the waits between them (see [Run]) five attempts
// outlast the deadlocks and serialization failures of a few dozen writers of the same rows, and give up within about
// half a second when the conflict is permanent.
const DefaultMaxAttempts = 5

// Options change how [RunWith] runs one transaction. The zero value is what [Run] uses.
type Options struct {
	// TxOptions are the isolation level, access mode and deferrable mode. The zero value sends a plain BEGIN: the
	// server's defaults. In a nested Run they must be zero or say what the outermost one said, for a savepoint cannot
	// change them; on a pgx.Tx as db they must be zero.
	TxOptions pgx.TxOptions

	// MaxAttempts is how often the function is called at most. 0 means [DefaultMaxAttempts]; 1 or a negative number
	// means that it is never called again. Set 1 when the function does what must not be repeated. A nested Run has
	// one attempt whatever it asks for: the outermost repeats the whole.
	MaxAttempts int
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

// compatible reports an error if a nested Run asks for what the transaction around it is not.
func (o Options) compatible(outer pgx.TxOptions) error {
	in := o.TxOptions
	switch {
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
