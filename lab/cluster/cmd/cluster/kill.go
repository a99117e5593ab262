package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// failoverLimit limits how long the demo waits for a new primary: ten times the usual time.
const failoverLimit = time.Minute

// kill kills the primary while all writers write, and counts the results.
func (s *story) kill(ctx context.Context) error {
	s.title("kill -9 of the primary, while a small service writes in each way: pgtx.Run, VerifyCommit")
	load, stop := context.WithCancel(ctx)
	var all errgroup.Group
	end := func() error { stop(); return all.Wait() }
	defer func() { _ = end() }()
	for _, w := range s.writers {
		all.Go(func() error { w.write(load); return nil })
		all.Go(func() error { w.watch(load); return nil })
		all.Go(func() error { return w.listen(load) })
	}
	if err := s.goOn(ctx); err != nil {
		return err
	}
	primary, err := s.c.Primary(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := primary.Kill(); err != nil {
		return err
	}
	s.say("%s is dead", primary)
	if err := s.goOn(ctx); err != nil {
		return err
	}
	s.say("all write and hear again after %s", since(began))
	if err := end(); err != nil {
		return err
	}
	s.say("")
	s.say("%-14s %12s %14s %11s %9s %8s %6s  %s", "", "acknowledged", "without writes", "not ready", "unknown",
		"retried", "lost", "errors that the caller got")
	lost, twice := 0, 0
	for _, w := range s.writers {
		l, t, err := w.missing(ctx)
		if err != nil {
			return err
		}
		lost, twice = lost+l, twice+t
		s.say("%-14s %12d %12.1f s %9.1f s %9d %8d %6d  %s", w.name, len(w.acknowledged), w.gap.Seconds(),
			w.notReady.Seconds(), w.unknown, w.retried, l, w.errors())
	}
	s.say("")
	if lost+twice > 0 {
		return fmt.Errorf("%d acknowledged writes are lost, %d were applied twice", lost, twice)
	}
	s.say("nothing that was acknowledged is lost, nothing is there twice, no program was restarted")
	began = time.Now()
	if err := errors.Join(primary.Restart(ctx), s.c.Ready(ctx)); err != nil {
		return err
	}
	s.say("%s is back, as a standby, after %s", primary, since(began))
	return nil
}

// goOn waits until each writer has written and has heard of a write after the call.
func (s *story) goOn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, failoverLimit)
	defer cancel()
	for _, w := range s.writers {
		from, _ := w.progress()
		for {
			written, heard := w.progress()
			if written >= from+20 && heard > from {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s does not go on: %w", w.name, context.Cause(ctx))
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

func (w *writer) errors() string {
	var kinds []string
	for category, n := range w.failed {
		kinds = append(kinds, fmt.Sprintf("%d × %s", n, category))
	}
	slices.Sort(kinds)
	if len(kinds) == 0 {
		return "none"
	}
	return strings.Join(kinds, ", ")
}
