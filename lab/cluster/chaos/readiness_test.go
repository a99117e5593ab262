package chaos

import (
	"testing"
	"time"
)

// A 503 is false only if no pause of writes explains it. The load and the clients are unexported,
// so this test is inside the package.
func TestReadinessOfSeveralPauses(t *testing.T) {
	t.Parallel()
	fault := time.Now()
	at := func(s float64) time.Time { return fault.Add(time.Duration(s * float64(time.Second))) }
	var acks moments
	for s := -1.0; s < 60; s += 0.1 {
		if s < 1 || s > 21 && s < 30 || s > 40 { // pauses of 20 and 9 seconds
			acks.add(at(s))
		}
	}
	var r readiness
	for s := -1.0; s < 60; s += 0.25 {
		down := s > 3 && s < 21 || s > 32 && s < 40 || s > 55 && s < 56
		text := ""
		if down {
			text = "down"
		}
		r.seen = append(r.seen, answer{at(s), !down, text})
	}
	got := r.judge(fault, acks.pause(fault, at(60)), acks.pauses(fault, at(60), shortPause))
	if got.False != 3 || got.Why != "down" || !got.Long || got.Down < 2*time.Second || got.Down > 3*time.Second ||
		got.Up != 0 {
		t.Errorf("%+v", got)
	}
	longest := acks.pause(fault, at(60))
	if alone := r.judge(fault, longest, []span{longest}); alone.False <= 3 {
		t.Errorf("%+v with the longest pause alone", alone)
	}
}
