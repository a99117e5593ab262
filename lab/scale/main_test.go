package main

import (
	"strings"
	"testing"
	"time"
)

func TestNeed(t *testing.T) {
	t.Parallel()
	a := assumptions()
	got := a.need(1_000)
	want := need{
		instances: 1_000, all: 1_250, directConns: 15_008, directMemory: 15_008 * a.backendMB / 1000,
		poolerClients: 13_750,
		poolers:       3, serverConns: 40, listeners: 1_250, pooledConns: 1_298,
		pooledMemory: 1_298 * a.backendMB / 1000,
		statements:   8, probes: 125, renewals: 12_500 / a.lifetime.Seconds(), login: 49 * time.Second,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := run([]string{"-max-conns=4", "50", "2000000"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"-max-conns 4", "| instances | 50 | 2,000,000 |", "`max_client_conn`, all together | 315 | 12,500,000 |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	for _, args := range [][]string{
		{"0"}, {"-1"}, {"x"}, {"-max-conns=0"}, {"-cores=0"}, {"-surge=-1"}, {"-lifetime=0s"}, {"-nope"},
	} {
		if err := run(args, &strings.Builder{}); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
