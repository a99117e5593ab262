package pghealth

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
)

// Token is the secret that the verbose form asks for. It does not print itself.
type Token string

// minToken is enough of random text (80 bits in base 32) not to be guessed over HTTP.
const minToken = 16

// Format hides the token in every verb of fmt.
func (t Token) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[hidden]") }

// MarshalText hides the token in JSON and in slog.
func (t Token) MarshalText() ([]byte, error) { return []byte("[hidden]"), nil }

// admits reports whether the request carries the token, in a time that tells nothing about it. The token is not taken
// from the URL, which proxies and servers log.
func (t Token) admits(r *http.Request) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	// Hashes have one length, whatever was sent.
	want, got := sha256.Sum256([]byte(t)), sha256.Sum256([]byte(strings.TrimSpace(given)))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}
