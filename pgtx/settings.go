package pgtx

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// prelude returns the statements that begin a transaction: BEGIN, the limits and the settings.
func (o Options) prelude(ctx context.Context) []string {
	statements := append(make([]string, 0, 4), beginSQL(o.TxOptions))
	if limit := o.statementLimit(ctx); limit != 0 {
		statements = append(statements, "set local statement_timeout = "+milliseconds(min(limit, maxLimit)))
	}
	if o.LockTimeout != 0 {
		statements = append(statements, "set local lock_timeout = "+milliseconds(min(o.LockTimeout, maxLimit)))
	}
	if o.IdempotencyKey != "" {
		return statements // the key's row is written before the role and the search_path change
	}
	return append(statements, o.setAll()...)
}

// beginSQL returns what pgx sends for txOptions.
func beginSQL(txOptions pgx.TxOptions) string {
	if txOptions == (pgx.TxOptions{}) {
		return "begin"
	}
	var b pgx.Batch
	b.BeginTx(txOptions)
	begin := b.QueuedQueries[0].SQL
	if txOptions.BeginQuery != "" {
		begin += "\n" // a comment at its end must not swallow what follows
	}
	return begin
}

// setAll returns the statements for Settings in the order of their names. The role is last, because
// it may not be allowed to set the others.
func (o Options) setAll() (statements []string) {
	if len(o.Settings) == 0 {
		return nil
	}
	names := make([]string, 0, len(o.Settings))
	for name := range o.Settings {
		names = append(names, name)
	}
	slices.Sort(names)
	if i := slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(name, "role") }); i >= 0 {
		role := names[i]
		names = append(slices.Delete(names, i, i+1), role)
	}
	for _, name := range names {
		quoted := pgx.Identifier(strings.Split(name, ".")).Sanitize()
		value, _ := settingValue(name, o.Settings[name]) // validated
		statements = append(statements, "set local "+quoted+" = "+value)
	}
	return statements
}

// maxIdentifier is PostgreSQL's limit for a name: NAMEDATALEN - 1.
const maxIdentifier = 63

// validateSettings refuses settings that cannot work, or would not do what they say.
func (o Options) validateSettings() error {
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

// settingValue quotes a value. PostgreSQL takes one string for search_path as one name, so a list
// is quoted name by name.
func settingValue(name, value string) (string, error) {
	if !strings.EqualFold(name, "search_path") && !strings.EqualFold(name, "temp_tablespaces") {
		return quote(value), nil
	}
	switch {
	case strings.TrimSpace(value) == "":
		return "''", nil
	case !namesPattern.MatchString(value):
		return "", errNames
	}
	names := namePattern.FindAllString(value, -1)
	for i, name := range names {
		if len(name) > maxIdentifier+2 {
			return "", errNames
		}
		if name[0] != '"' {
			names[i] = quote(strings.ToLower(name))
		}
	}
	return strings.Join(names, ", "), nil
}

// A name in the server's configuration is in double quotes, where a doubled quote is one, or it is
// folded to lower case.
var (
	namePattern  = regexp.MustCompile(name)
	namesPattern = regexp.MustCompile(`^\s*` + name + `(\s*,\s*` + name + `)*\s*$`)
)

const name = `(?:"(?:[^"]|"")+"|[\w$]+)`

var errNames = errors.New(`not a list of names: separate them by commas, and put a name with other characters in "…"`)

// quote makes a literal that does not depend on standard_conforming_strings.
func quote(value string) string {
	literal := "'" + strings.ReplaceAll(value, "'", "''") + "'"
	if strings.Contains(value, `\`) {
		return "E" + strings.ReplaceAll(literal, `\`, `\\`)
	}
	return literal
}

// maxLimit is the longest limit that the server takes, 24 days.
const maxLimit = math.MaxInt32 * time.Millisecond

// milliseconds rounds up, because the server takes 0 for no limit. A negative limit means none.
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

// The reserve keeps a server-side limit below ctx's deadline, so that the cancellation still
// arrives. 50 ms cover a round trip to another region or a stall of either side. A tenth scales
// that for callers with more time.
const (
	reserveShare = 10
	reserveLeast = 50 * time.Millisecond
	reserveMost  = time.Second
)

// statementLimit returns StatementTimeout, or less if ctx ends sooner.
func (o Options) statementLimit(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok || o.StatementTimeout <= 0 {
		return o.StatementTimeout
	}
	left := time.Until(deadline)
	reserve := min(max(left/reserveShare, reserveLeast), reserveMost, left/2)
	return min(o.StatementTimeout, max(time.Millisecond, left-reserve))
}
