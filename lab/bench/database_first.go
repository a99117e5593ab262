package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// firstQuery measures go test of a package with one test when no server runs: the server's start,
// the template, the first copy. What caches keep is there: the compiled package and an initialized
// data directory.
func firstQuery(ctx context.Context, r *report, rounds int) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	// A server of its own, in a cache of its own.
	own, err := os.MkdirTemp("/tmp", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(own)
	if err := os.Chmod(own, 0o755); err != nil {
		return err
	}
	var fromGo, build, fromStart []time.Duration
	for round := range rounds + 1 {
		cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "./testdata/first")
		cmd.Dir = benchDir()
		cmd.Env = append(os.Environ(), "GOWORK=off", "XDG_CACHE_HOME="+own)
		if os.Getenv("GOCACHE") == "" { // its default would move too
			cmd.Env = append(cmd.Env, "GOCACHE="+filepath.Join(cache, "go-build"))
		}
		began := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("go test: %w\n%s", err, out)
		}
		var start, answered int64
		_, line, _ := strings.Cut(string(out), "first ")
		if _, err := fmt.Sscan(line, &start, &answered); err != nil {
			return fmt.Errorf("go test: %w\n%s", err, out)
		}
		if round > 0 { // the first fills the caches
			fromGo = append(fromGo, time.Unix(0, answered).Sub(began))
			build = append(build, time.Unix(0, start).Sub(began))
			fromStart = append(fromStart, time.Duration(answered-start))
		}
		time.Sleep(5 * time.Second) // until the server has gone
	}
	r.printf("\ngo test of a package with one test, no server running, caches warm, until its first query (%d "+
		"rounds)\n\n", rounds)
	r.printf("| %-28s | %10s | %21s |\n|%s|%s|%s|\n", "", "median", "quartiles", dashes(30), dashes(12), dashes(23))
	for _, line := range []struct {
		name  string
		times []time.Duration
	}{{"since go test", fromGo}, {"of this, until the test runs", build}, {"since then", fromStart}} {
		r.printf("| %-28s | %10s | %10s–%10s |\n", line.name, short(quantile(line.times, 0.5)),
			short(quantile(line.times, 0.25)), short(quantile(line.times, 0.75)))
	}
	return nil
}

// benchDir returns this module's folder: the working directory, or lab/bench in it.
func benchDir() string {
	if _, err := os.Stat("lab/bench/testdata/first"); err == nil {
		return "lab/bench"
	}
	return "."
}
