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

// observation is the result of a check, as answers show it. Its JSON follows
// application/health+json, which allows members of ours: category, figures and since.
type observation struct {
	Component string           `json:"componentType,omitempty"`
	Value     any              `json:"observedValue,omitempty"` // a number; nil: nothing was measured
	Unit      string           `json:"observedUnit,omitempty"`
	Status    status           `json:"status"`
	Category  pgerr.Category   `json:"category,omitempty"` // "" unless an error is behind the status
	Output    string           `json:"output,omitempty"`   // a sentence of this package, never an error's text
	Figures   map[string]int64 `json:"figures,omitempty"`  // must not change once set
	Time      time.Time        `json:"time,omitzero"`      // when it was made: UTC, milliseconds
	Since     time.Time        `json:"since,omitzero"`     // when it last differed: see equals
	Text      string           `json:"-"`                  // value and figures for a reader of the page

	made       time.Time // Time with the monotonic clock
	cause      error     // for the log
	unobserved bool      // the database could not be asked, which connectivity reports
}

// stamp returns the observation with the current time.
func (o observation) stamp() observation {
	o.made = time.Now()
	o.Time = timestamp(o.made)
	o.Since = o.Time
	return o
}

func timestamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// failure is an observation of err, with pgerr's category.
func failure(err error, output string) observation {
	return observation{Status: fail, Category: pgerr.Of(err), Output: output, cause: err}
}

// withValue returns the observation with a measured value.
func (o observation) withValue(value any, unit, text string) observation {
	o.Value, o.Unit, o.Text = value, unit, text
	return o
}

// equals reports whether status and category are the same as in before. For a failure the reason
// has to be the same too.
func (o observation) equals(before observation) bool {
	return !before.Time.IsZero() && o.Status == before.Status && o.Category == before.Category &&
		(o.Status != fail || o.Output == before.Output)
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
