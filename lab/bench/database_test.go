package main

import "testing"

// pgtestdb works on a second server of the same process, which has not the first one's role: the
// throw-away server ends between two comparisons that use it.
func TestPgtestdbOnAnotherServer(t *testing.T) {
	t.Parallel()
	for range 2 {
		server, err := startServer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.remove)
		way, err := pgtestdbAlone(t.Context(), server.url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := way.once(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
}
