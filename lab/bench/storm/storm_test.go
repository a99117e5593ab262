package storm

import (
	"testing"
	"time"
)

// The calculation keeps to its server: no client is let in before it is up, faster than it can, or
// without room, and all get their turn.
func TestCalculation(t *testing.T) {
	t.Parallel()
	const accept, refuse = 5 * time.Millisecond, 4 * time.Millisecond
	for _, s := range scenarios {
		ups := map[string]float64{}
		for _, b := range backoffs {
			c := &calculation{scenario: s, accept: accept, refuse: refuse, wait: b.wait}
			c.run()
			if least := time.Duration(s.pools)*accept + time.Duration(c.full)*refuse; c.allConnected < least {
				t.Errorf("%s, %s: all were connected in %s, less than the %s that it takes", s.title, b.name,
					c.allConnected, least)
			}
			if c.most > s.slots || (s.slots < s.pools) != (c.full > 0) {
				t.Errorf("%s, %s: %d connections at once of %d, %d refused for lack of room", s.title, b.name, c.most,
					s.slots, c.full)
			}
			if most := int(s.recovery/refuse) + 1; c.starting == 0 || c.starting > most {
				t.Errorf("%s, %s: %d attempts refused while it started, want 1 to %d", s.title, b.name, c.starting, most)
			}
			ups[b.name] = c.figures()[2]
		}
		if ups[backoffs[2].name] >= ups[backoffs[1].name] {
			t.Errorf("%s: at the server at most %v in a window; want fewer with jitter than without", s.title, ups)
		}
	}
}
