package pghealth

import (
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

const (
	componentDatastore = "datastore"
	componentSystem    = "system"
)

// observation is what a check saw. Everything in it but cause is public.
type observation struct {
	status   status
	category pgerr.Category   // "" unless an error is behind the status
	value    *float64         // nil: nothing was measured
	unit     string           // of value
	figures  map[string]int64 // never changed once it is here
	output   string           // one of our own sentences, never an error's text
	cause    error            // for the log

	unobserved bool // the database could not be asked

	time  time.Time // when it was made
	since time.Time // since when check, status and category are what they are
}

// failure is an observation of err. Its category is pgerr's.
func failure(err error, output string) observation {
	return observation{status: fail, category: pgerr.Of(err), output: output, cause: err}
}

// milliseconds keeps microseconds, which is what a clock tells and a reader can use.
func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}

// like reports whether nothing changed that is worth telling.
func (o observation) like(before observation) bool {
	return !before.time.IsZero() && o.status == before.status && o.category == before.category
}

// of is seen with a value.
func (o observation) of(value float64, unit string, figures map[string]int64) observation {
	o.value, o.unit, o.figures = &value, unit, figures
	return o
}
