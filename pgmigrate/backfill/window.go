package backfill

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// window is the part of the day in which batches may begin.
type window struct {
	text     string
	from, to int // minutes of the day; to is not one of them
	zone     *time.Location
}

var windowText = regexp.MustCompile(`\A([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)(?: (\S+))?\z`)

func parseWindow(text string) (*window, error) {
	match := windowText.FindStringSubmatch(text)
	if match == nil {
		return nil, fmt.Errorf("window %q: write 22:00-06:00 or 22:00-06:00 Europe/Berlin", text)
	}
	w := &window{text: text, from: minute(match[1:3]), to: minute(match[3:5]), zone: time.Local}
	if w.from == w.to {
		return nil, fmt.Errorf("window %q: it begins when it ends", text)
	}
	if match[5] != "" {
		var err error
		if w.zone, err = time.LoadLocation(match[5]); err != nil {
			return nil, fmt.Errorf("window %q: %w", text, err)
		}
	}
	return w, nil
}

func minute(clock []string) int {
	h, _ := strconv.Atoi(clock[0]) // two digits
	m, _ := strconv.Atoi(clock[1])
	return 60*h + m
}

// reason says why no batch may begin at t; "" if one may.
func (w *window) reason(t time.Time) string {
	t = t.In(w.zone)
	now := 60*t.Hour() + t.Minute()
	open := w.from <= now && now < w.to
	if w.from > w.to { // over midnight
		open = w.from <= now || now < w.to
	}
	if open {
		return ""
	}
	return fmt.Sprintf("outside of the window %s: it is %s", w.text, t.Format("15:04 MST"))
}
