package replica

import (
	"context"
	"errors"
	"fmt"
)

// ErrMalformedToken is the error for a text that is no [Token]. The text itself is not in it.
var ErrMalformedToken = errors.New("the token is malformed: drop it, or read from the primary")

// Token is a position in the history of one database cluster: where its write-ahead log ended after
// a commit. A server that has replayed that far shows the commit. The zero Token stands for no
// write. It is a value, comparable, and holds no secret and no data.
//
// It is not signed, because a token that a client made up costs little. One of another cluster or
// beyond the end of the primary's log does not count; its reader waits for the primary's answer
// only. One of another timeline means the primary at once. One near the end of the log waits like
// any token of a recent write, at most [WaitLimit].
type Token struct {
	system   uint64 // the system identifier, which initdb draws and replicas share
	timeline uint32 // grows with each promotion; positions of different ones cannot be compared
	lsn      uint64
}

// tokenFormat has a version first, and a fixed width, so that whatever else comes is recognized.
// Its characters need no quoting in headers, cookies and URLs.
const tokenFormat = "1-%016x-%08x-%016x"

// ParseToken reads what [Token.String] wrote. The empty text is the zero Token, because a request
// without a header has none. Every other text that String cannot have written is
// [ErrMalformedToken].
func ParseToken(text string) (Token, error) {
	if text == "" {
		return Token{}, nil
	}
	var token Token
	_, err := fmt.Sscanf(text, tokenFormat, &token.system, &token.timeline, &token.lsn)
	// Writing it again finds everything else: separators, the version, upper case, signs.
	if err != nil || token.String() != text {
		return Token{}, fmt.Errorf("parse token: %w", ErrMalformedToken)
	}
	return token, nil
}

// IsZero reports whether t stands for no write.
func (t Token) IsZero() bool { return t == Token{} }

// String returns 45 ASCII characters, hexadecimal digits and hyphens, or "" for the zero Token.
func (t Token) String() string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf(tokenFormat, t.system, t.timeline, t.lsn)
}

// MarshalText returns String's text. It never fails.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is [ParseToken]. On an error t is not changed.
func (t *Token) UnmarshalText(text []byte) error {
	token, err := ParseToken(string(text))
	if err == nil {
		*t = token
	}
	return err
}

// sameHistory reports whether the positions of both can be compared.
func (t Token) sameHistory(other Token) bool {
	return t.system == other.system && t.timeline == other.timeline
}

// Later returns the one that shows the writes of both: for a request that wrote twice, or that has
// a token and gets another one. Of different timelines that is the newer one; of different clusters
// it is t.
func (t Token) Later(other Token) Token {
	switch {
	case t.IsZero():
		return other
	case t.system != other.system, t.timeline > other.timeline:
		return t
	case t.timeline < other.timeline, t.lsn < other.lsn:
		return other
	}
	return t
}

type tokenKey struct{}

// WithToken returns a context with which [Cluster.Reader] returns only pools that show what token
// stands for. It replaces a token that ctx has. The zero Token takes it away.
func WithToken(ctx context.Context, token Token) context.Context {
	return context.WithValue(ctx, tokenKey{}, token)
}

// TokenFrom returns the context's token, or the zero Token.
func TokenFrom(ctx context.Context) Token {
	token, _ := ctx.Value(tokenKey{}).(Token)
	return token
}

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
