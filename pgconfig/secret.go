package pgconfig

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is text that must not be shown: a connection string or a password. Every way of formatting
// it (fmt with any verb, slog, JSON, text, gob) gives [Redacted] instead, or nothing if it is
// empty. [Secret.Reveal] returns the text.
//
// A Secret can be decoded from text but not encoded to it. The zero value is empty. Secrets cannot
// be compared with ==.
type Secret struct {
	// text is a function because fmt does not call methods on unexported fields, or for a verb that
	// does not fit (%p, %w). It then prints the fields, and a function prints as an address.
	text func() string
}

// NewSecret returns a Secret that holds text.
func NewSecret(text string) Secret { return Secret{text: func() string { return text }} }

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return s.text()
}

// Redacted is shown in place of a secret. Its length says nothing about the secret's.
const Redacted = "****"

func (s Secret) redacted() string {
	if s.Reveal() == "" {
		return ""
	}
	return Redacted
}

// String implements fmt.Stringer.
func (s Secret) String() string { return s.redacted() }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return fmt.Sprintf("pgconfig.Secret(%q)", s.redacted()) }

// Format implements fmt.Formatter, for the verbs that would not call String: %x, %d and the like.
func (s Secret) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'v' && f.Flag('#'):
		_, _ = io.WriteString(f, s.GoString())
	case verb == 'q':
		_, _ = fmt.Fprintf(f, "%q", s.redacted())
	default:
		_, _ = io.WriteString(f, s.redacted())
	}
}

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.redacted()) }

// MarshalText implements encoding.TextMarshaler, which encoding/json, encoding/xml and flag use.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.redacted()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// GobEncode implements gob.GobEncoder.
func (s Secret) GobEncode() ([]byte, error) { return []byte(s.redacted()), nil }

// GobDecode implements gob.GobDecoder.
func (s *Secret) GobDecode(data []byte) error { return s.UnmarshalText(data) }
