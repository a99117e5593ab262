package database

import (
	"testing"

	"github.com/page-builder/persistence/lab/bench/harness"
)

// pgtestdb works on a second server in the same process, which lacks the role of the first one. The
// throw-away server may end between two comparisons.
func TestPgtestdbOnAnotherServer(t *testing.T) {
	t.Parallel()
	for range 2 {
		_, url := harness.StartServer(t, nil)
		way, err := pgtestdbAlone(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := way.once(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
}
