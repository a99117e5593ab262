package pgmigrate

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Checksum identifies what the migration does: SHA-256, in hexadecimal, over the rendered SQL of
// both sections, so that an edit of a shared template or of template data counts. CRLF counts as
// LF: a checkout on Windows is no edit. A template that renders differently each time, as with now
// or env, is identified by its source instead.
func (m Migration) Checksum() string {
	h := sha256.New()
	if m.unstable != "" {
		h.Write([]byte(strings.ReplaceAll(m.unstable, "\r\n", "\n")))
		return hex.EncodeToString(h.Sum(nil))
	}
	h.Write([]byte(strings.ReplaceAll(m.Up, "\r\n", "\n")))
	h.Write([]byte{0}) // not possible in SQL
	h.Write([]byte(strings.ReplaceAll(m.Down, "\r\n", "\n")))
	return hex.EncodeToString(h.Sum(nil))
}
