package pgserver_test

import (
	"testing"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// A kept server outlives its users by the time given, or until that is taken back.
func TestKeep(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keep time.Duration
		end  bool
	}{
		"time is up": {6 * time.Second, false},
		"ended":      {time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := shortTempDir(t) // waits for the server to go
			s := acquire(t, pgserver.Options{Dir: dir})
			for range 2 { // the second has no effect
				if err := s.Keep(c.keep); err != nil {
					t.Fatal(err)
				}
			}
			s.Release()
			time.Sleep(4 * time.Second) // longer than a server without users stays
			if got := query(t, s.URL(), "select 'up'"); got != "up" {
				t.Fatal(got)
			}
			if c.end {
				if err := s.EndKeep(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
