package main

import (
	"os"
	"strings"
	"testing"
)

// Before it starts anything, the command prints which faults it skips and why.
func TestSkippedFaultsAreSaidFirst(t *testing.T) {
	t.Setenv("PATH", "") // no nft, and no cluster either
	why := "sudo apt-get install nftables"
	if os.Geteuid() != 0 {
		why = "only root may drop packets"
	}
	var said strings.Builder
	if status := run(t.Context(), nil, &said, &said); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	first, rest, _ := strings.Cut(said.String(), "\n")
	if !strings.HasPrefix(first, "SKIPPED partition: ") || !strings.Contains(first, why) {
		t.Errorf("the first line is %q, want the skipped fault with %q", first, why)
	}
	if !strings.HasPrefix(rest, "chaos: a cluster needs programs") {
		t.Errorf("then it says %q, want that a cluster cannot start", rest)
	}

	said.Reset()
	if status := run(t.Context(), []string{"-fault=partition"}, &said, &said); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	if want := "chaos: none of these faults is possible here\n"; !strings.HasSuffix(said.String(), want) {
		t.Errorf("it says %q, want %q in the end", said.String(), want)
	}
}
