package dsn

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// These functions convert a parameter's value to the form of a variable. Each returns the text, or
// what is wrong. The errors of strconv and time would quote the value.

// maxServerLimit is the longest timeout that PostgreSQL takes: an int of milliseconds, 24 days.
const maxServerLimit = math.MaxInt32 * time.Millisecond

func verbatim(s string) (text, wrong string) { return s, "" }

func number(s string) (text, wrong string) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return "", "is not a whole number"
	}
	return strconv.FormatInt(n, 10), ""
}

func boolean(s string) (text, wrong string) {
	switch strings.ToLower(s) {
	case "1", "t", "true", "on", "yes":
		return "true", ""
	case "0", "f", "false", "off", "no":
		return "false", ""
	}
	return "", "is not true or false"
}

// keepalives is on by default; 0 switches it off.
func keepalives(s string) (text, wrong string) {
	switch s {
	case "0":
		return "off", ""
	case "1":
		return "", ""
	}
	return "", "is not 0 or 1"
}

func seconds(s string) (text, wrong string) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 || time.Duration(n)*time.Second > maxServerLimit {
		return "", "is not a number of seconds"
	}
	return (time.Duration(n) * time.Second).String(), ""
}

// positiveSeconds is seconds for the keepalive parameters, where 0 means the system's default.
func positiveSeconds(s string) (text, wrong string) {
	text, wrong = seconds(s)
	if text == "0s" {
		return "", ""
	}
	return text, wrong
}

func goDuration(s string) (text, wrong string) {
	if d, err := time.ParseDuration(s); err != nil || d < 0 || d > maxServerLimit {
		return "", "is not a duration such as 5s or 10m"
	}
	return s, ""
}

var serverNumber = regexp.MustCompile(`^\s*(0[xX][0-9a-fA-F]+|0[0-7]+|` +
	`[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+)\s*([a-zA-Z]*)\s*$`)

// serverDuration reads a duration as PostgreSQL does: a number of milliseconds, or a number with a
// unit. Units are case-sensitive, and fractions are allowed.
func serverDuration(s string) (text, wrong string) {
	unit := map[string]time.Duration{
		"": time.Millisecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
		"min": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
	}
	const detail = "is not a duration: PostgreSQL counts in milliseconds, or write 30s"
	m := serverNumber.FindStringSubmatch(strings.Trim(strings.TrimSpace(s), "'"))
	if m == nil || unit[m[2]] == 0 {
		return "", detail
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if i, asInt := strconv.ParseInt(m[1], 0, 64); asInt == nil { // hexadecimal and octal too
		n, err = float64(i), nil
	}
	d := n * float64(unit[m[2]])
	if err != nil || d > float64(maxServerLimit) {
		return "", detail
	}
	return time.Duration(d).Round(time.Microsecond).String(), ""
}
