package pgconfig

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// String returns one line with the connection, its password masked, and the settings that are not
// the default.
func (c Config) String() string {
	r := c.state()
	if r == nil {
		return "pgconfig.Config{not loaded}"
	}
	var b strings.Builder
	b.WriteString("pgconfig.Config{")
	b.WriteString(r.main.Masked())
	for _, s := range c.Report() {
		if s.Value != "" && s.Source != "default" && !strings.Contains(s.Key, "DATABASE_URL") {
			fmt.Fprintf(&b, " %s=%s", s.Key, s.Value)
		}
	}
	b.WriteByte('}')
	return b.String()
}

// Format implements fmt.Formatter: every verb prints String.
func (c Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue implements slog.LogValuer: a group of the connection, its password masked, and every
// setting.
func (c Config) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, s := range c.Report() {
		if s.Value != "" {
			attrs = append(attrs, slog.String(s.Key, s.Value))
		}
	}
	return slog.GroupValue(attrs...)
}
