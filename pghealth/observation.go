package pghealth

import (
	"strconv"
	"time"

	"github.com/page-builder/persistence/pgerr"
)

// status is one of the three of application/health+json (draft-inadarei-api-health-check-06).
type status string

const (
	pass status = "pass"
	warn status = "warn"
	fail status = "fail"
)

// worst ranks fail before warn before pass.
func worst(a, b status) status {
	switch {
	case a == fail || b == fail:
		return fail
	case a == warn || b == warn:
		return warn
	}
	return pass
}

// observation is the result of a check. Everything in it but cause is public.
type observation struct {
	status   status
	category pgerr.Category   // "" unless an error is behind the status
	value    *float64         // nil: nothing was measured
	unit     string           // of value
	figures  map[string]int64 // never changed after it is set
	text     string           // value and figures for a reader
	output   string           // a sentence of this package, never an error's text
	cause    error            // for the log

	unobserved bool        // the database could not be asked, which connectivity reports
	position   walPosition // of the primary, for replicaLag; zero: not known

	time  time.Time // when it was made
	since time.Time // when status and category last changed
}

// failure is an observation of err, with pgerr's category.
func failure(err error, output string) observation {
	return observation{status: fail, category: pgerr.Of(err), output: output, cause: err}
}

// withValue returns the observation with a measured value.
func (o observation) withValue(value float64, unit, text string) observation {
	o.value, o.unit, o.text = &value, unit, text
	return o
}

// equals reports whether the status and category are those of before.
func (o observation) equals(before observation) bool {
	return !before.time.IsZero() && o.status == before.status && o.category == before.category
}

// humanize formats a duration with the precision that a reader needs: 0.13 ms, 112 s, 35 min.
func humanize(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 2, 64) + " ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < 5*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days"
}
