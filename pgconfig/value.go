package pgconfig

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"time"
)

// value is the text form of a field of Config. Each has its own error texts, because the errors of
// strconv and time quote the value, which may be a secret in the wrong variable.
type value interface {
	UnmarshalText(text []byte) error
	String() string
}

// limit is a duration in Go's notation. "off" and 0 switch it off.
type limit time.Duration

// maxServerLimit is what PostgreSQL's timeouts, an int of milliseconds, can hold: 24 days.
const maxServerLimit = math.MaxInt32 * time.Millisecond

func (l *limit) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*l = 0
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil {
		if _, err := strconv.ParseFloat(string(text), 64); err == nil {
			return errors.New("has no unit: write 5s, 500ms, 10m, or off")
		}
		return errors.New("is not a duration: write 5s, 500ms, 10m, or off")
	}
	if d < 0 {
		return errors.New("is negative: write a duration such as 5s, or off")
	}
	if d > maxServerLimit {
		return errors.New("is longer than 24 days, the most PostgreSQL can hold: write off for no limit")
	}
	*l = limit(d)
	return nil
}

func (l *limit) String() string {
	if *l <= 0 {
		return "off"
	}
	return time.Duration(*l).String()
}

// count is a whole number from 0.
type count int32

func (c *count) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 32)
	if err != nil || n < 0 {
		return errors.New("is not a whole number from 0 to 2147483647: write 10, for example")
	}
	*c = count(n)
	return nil
}

func (c *count) String() string { return strconv.Itoa(int(*c)) }

// flag is a switch.
type flag bool

func (f *flag) UnmarshalText(text []byte) error {
	switch string(text) {
	case "1", "t", "true", "TRUE", "True", "on", "yes":
		*f = true
	case "0", "f", "false", "FALSE", "False", "off", "no":
		*f = false
	default:
		return errors.New("is not a switch: write true or false")
	}
	return nil
}

func (f *flag) String() string { return strconv.FormatBool(bool(*f)) }

// label is taken as it is.
type label string

func (t *label) UnmarshalText(s []byte) error {
	if bytes.IndexByte(s, 0) >= 0 { // it would start a new parameter in the startup message
		return errors.New("has a NUL character in it: take it out")
	}
	*t = label(s)
	return nil
}

func (t *label) String() string { return string(*t) }
