package main

import (
	"context"
	"math/rand/v2"
	"time"
)

// window is what attempts are counted in.
const window = 100 * time.Millisecond

// storms shows what comes over a server that was restarted: how many connections this machine's
// server starts and refuses a second, 500 pools against such a server by calculation, and as many
// as fit here against a real one whose postmaster is killed.
func storms(ctx context.Context, r *report, rounds int) error {
	server, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer server.remove()
	speed, err := measureSpeed(ctx, server)
	if err != nil {
		return err
	}
	r.printf("\nThe server starts %.0f connections a second and refuses %.0f for lack of room (clients on the same "+
		"cores)\n",
		perSecond(speed.accept), perSecond(speed.refuse))
	calculate(r, speed)
	return realStorms(ctx, r, server, min(rounds, 5))
}

func perSecond(d time.Duration) float64 { return float64(time.Second) / float64(d) }

// backoff is how long a client waits before its next attempt, after its nth has failed, from 1.
// full: the server said that it has no room, which costs it a process for each attempt.
type backoff struct {
	name string
	wait func(n int, full bool) time.Duration
}

var backoffs = []backoff{
	{"none", func(int, bool) time.Duration { return 0 }},
	{"250 ms, always", func(int, bool) time.Duration { return 250 * time.Millisecond }},
	{"random up to 50, 100, 200, 250 ms", func(n int, _ bool) time.Duration {
		return fullJitter(n, 250*time.Millisecond)
	}},
	{"the same, up to 2 s if full (Connect)", func(n int, full bool) time.Duration {
		if full {
			return fullJitter(n+2, 2*time.Second)
		}
		return fullJitter(n, 250*time.Millisecond)
	}},
}

func fullJitter(n int, most time.Duration) time.Duration {
	return rand.N(min(most, 50*time.Millisecond<<min(n-1, 10))) + 1
}

// tally is what one side of a storm did.
type tally struct {
	attempts       int
	perWindow      map[int]int // those, by window since the server went
	up             int         // the first window in which the server answered
	refused        int         // by the system: nobody listened
	starting, full int         // by the server: 57P03, 53300
	other          int         // timed out, reset, …
	allConnected   time.Duration
}

func (t *tally) attempt(since time.Duration) {
	if t.perWindow == nil {
		t.perWindow = map[int]int{}
	}
	t.attempts++
	t.perWindow[int(since/window)]++
}

// peaks are the most attempts in a window, ever and since the server was up.
func (t *tally) peaks() (ever, up int) {
	for w, n := range t.perWindow {
		ever = max(ever, n)
		if w >= t.up {
			up = max(up, n)
		}
	}
	return ever, up
}

func printHead(r *report, title string) {
	r.printf("\n%s\n\n| %-40s | %8s | %11s | %13s | %8s | %7s | %7s | %13s |\n|%s|%s|%s|%s|%s|%s|%s|%s|\n", title,
		"wait before the next attempt", "attempts", "peak/100 ms", "once it is up", "starting", "no room",
		"other", "all connected",
		dashes(42), dashes(10), dashes(13), dashes(15), dashes(10), dashes(9), dashes(9), dashes(15))
}

func (t *tally) print(r *report, name string) {
	ever, up := t.peaks()
	r.printf("| %-40s | %8d | %11d | %13d | %8d | %7d | %7d | %13s |\n", name, t.attempts, ever, up, t.starting, t.full,
		t.other, t.allConnected.Round(10*time.Millisecond))
}
