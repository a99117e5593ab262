package pghealth

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
)

// Token is the secret that the verbose form asks for. Every way of formatting it (fmt with any
// verb, slog, JSON) gives **** instead, or nothing if it is empty, as pgconfig.Secret does. Convert
// it to get the text: string(t).
type Token string

// minToken is enough of random text (80 bits in base 32) not to be guessed over HTTP.
const minToken = 16

// Format hides the token in every verb of fmt.
func (t Token) Format(f fmt.State, _ rune) { fmt.Fprint(f, t.masked()) }

// MarshalText hides the token in JSON and in slog.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.masked()), nil }

func (t Token) masked() string {
	if t == "" {
		return ""
	}
	return "****"
}

// admits reports whether the request carries the token, in a time that tells nothing about it. The
// token is not taken from the URL, which proxies and servers log.
func (t Token) admits(r *http.Request) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	// Hashes have one length, whatever was sent.
	want, got := sha256.Sum256([]byte(t)), sha256.Sum256([]byte(strings.TrimSpace(given)))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}
