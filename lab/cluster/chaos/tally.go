package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/page-builder/persistence/pgerr"
)

// tally counts errors by pgerr's category. It is safe for concurrent use.
type tally struct {
	mu     sync.Mutex
	counts map[pgerr.Category]int
}

func (t *tally) add(err error) {
	if err == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[pgerr.Category]int{}
	}
	t.counts[pgerr.Of(err)]++
}

func (t *tally) read() map[pgerr.Category]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}

// categories writes counts as text, the most frequent first.
func categories(counts map[pgerr.Category]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b pgerr.Category) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(string(a), string(b))
	})
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%s %d", name, counts[name])
	}
	return strings.Join(parts, ", ")
}
