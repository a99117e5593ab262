package dev_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/page-builder/persistence/pgmigrate/dev/schema"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// score counts what each reader finds of the corpus.
type score struct {
	mu          sync.Mutex
	changes     int
	unchanged   int
	found       [3]int
	falseAlarms [3]int
	missed      [3][]string
}

var readers = [3]string{"pg-schema-diff alone", "the dump alone", "both"}

func (s *score) add(t *testing.T, c change, live, base *shadow.DB, both *schema.Difference) {
	t.Helper()
	alone, err := schema.Compare(t.Context(), schema.Database{Config: live.Config()},
		schema.Database{Config: base.Config()}, schema.Options{NoDump: true})
	// An error of pg-schema-diff's is a find.
	saw := [3]bool{err != nil || !alone.Empty(), len(both.Objects) > 0, !both.Empty()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.expects("none") {
		s.unchanged++
	} else {
		s.changes++
	}
	for i := range readers {
		switch {
		case saw[i] && c.expects("none"):
			s.falseAlarms[i]++
		case saw[i]:
			s.found[i]++
		case !c.expects("none"):
			s.missed[i] = append(s.missed[i], c.title)
		}
	}
}

func (s *score) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| %d changes, %d without one | found | missed | false alarms |\n|---|---|---|---|\n",
		s.changes, s.unchanged)
	for i, name := range readers {
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", name, s.found[i], len(s.missed[i]), s.falseAlarms[i])
	}
	for i, name := range readers {
		slices.Sort(s.missed[i])
		fmt.Fprintf(&b, "%s misses: %s\n", name, strings.Join(s.missed[i], "; "))
	}
	return b.String()
}
