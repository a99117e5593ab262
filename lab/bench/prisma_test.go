package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// All sides do what they are asked to, and the driver of Prisma says what it did. Where nobody has
// run the comparison, which installs 300 MB from the npm registry, it takes BENCH_PRISMA=1 to do
// that for a test.
func TestPrismaRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Prisma on Node")
	}
	folder, _, err := prismaFolder()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); err != nil && os.Getenv("BENCH_PRISMA") == "" {
		t.Skip("Prisma is not installed: BENCH_PRISMA=1 installs it")
	}
	installing, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	_, _, err = installPrisma(installing)
	cancel()
	if no := (*noPrismaError)(nil); errors.As(err, &no) {
		t.Skipf("Prisma cannot be installed here: %v", no)
	}
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	r := &report{Writer: &said}
	// Ten of the callers are served at once; the others would be after they have been refused.
	busy := crowd{
		callers: 20, conns: 10, holdFor: 2 * time.Second, acquire: time.Second,
		limits: prismaLimits{MaxWait: 1000, Timeout: 60_000},
	}
	if err := prismaAs(t.Context(), r, 1,
		prismaPlan{conns: 2, warmUp: 2, count: manyCallers, crowds: []crowd{busy}}); err != nil {
		t.Fatal(err)
	}
	t.Log(said.String())
	if want := 3*3 + 3; len(r.measured) != want {
		t.Errorf("%d tables, want %d", len(r.measured), want)
	}
	for _, m := range r.measured {
		if len(m.sides) != 7 {
			t.Errorf("%s: %d sides", m.title, len(m.sides))
		}
		for _, s := range m.sides {
			if s.time.median <= 0 && !strings.Contains(m.title, "processor") {
				t.Errorf("%s: %s took %v", m.title, s.name, s.time)
			}
		}
	}
	for _, want := range []string{
		"\n- Prisma; statements for 64 at once: 256\n  1. simple: BEGIN\n",
		"prepared: begin; prepared: select id",
		"P2028", "no connection within",
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("not in the report: %q", want)
		}
	}
}

func TestWithoutNode(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var said strings.Builder
	runNamed(t, &report{Writer: &said}, "prisma")
	if want := "prisma is skipped: node is not in PATH"; !strings.Contains(said.String(), want) {
		t.Errorf("said %q, want %q", said.String(), want)
	}
}
