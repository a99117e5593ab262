package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/page-builder/persistence/pgerr"
)

// String returns the round as one line.
func (r *Round) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-16s no writes %s", r.Fault, seconds(r.Floor))
	for _, s := range append(slices.Clone(r.Ours), r.Control) {
		v := s.Verdict
		fmt.Fprintf(&b, " | %s %s: %d acknowledged, %d refused, %d unknown (%d resolved, %d of the rest applied), "+
			"%d lost, %d twice, %d denied",
			s.Name, seconds(s.Pause), v.Acknowledged, v.Refused, v.Unknown, v.Resolved, v.UnknownApplied,
			v.Lost, v.Twice, v.Denied)
	}
	fmt.Fprintf(&b, " | reads %d, pause %s, %d of %d checks failed, %d violations | events %d, %d by resync, delay "+
		"%s | migration in %d runs | readiness %s",
		r.Reads, seconds(r.ReadPause), r.ChecksFailed, r.Checks, r.Violations, r.Events, r.EventsResync,
		seconds(r.EventDelay), r.MigrationRuns, r.Readiness)
	fmt.Fprintf(&b, " | %d connections failed, at most %d times each", r.FailedConns, r.FailedWorst)
	for i, s := range append(slices.Clone(r.Ours), r.Control) {
		if len(s.Errors) > 0 {
			fmt.Fprintf(&b, " | errors of %s: %s", s.Name, categories(s.Errors))
		}
		if i < len(r.Ours) && len(s.Unsure) > 0 {
			fmt.Fprintf(&b, " | unresolved: %s", categories(s.Unsure))
		}
	}
	if len(r.ReadErrors) > 0 {
		fmt.Fprintf(&b, " | of reads: %s", categories(r.ReadErrors))
	}
	if r.Mended != "" {
		fmt.Fprintf(&b, " | mended by hand: %s", strings.Join(strings.Fields(r.Mended), " "))
	}
	if r.MigrationMet != "" {
		fmt.Fprintf(&b, " | migration met: %s", strings.Join(strings.Fields(r.MigrationMet), " "))
	}
	for _, broken := range r.Broken {
		fmt.Fprintf(&b, " | BROKEN: %s", broken)
	}
	return b.String()
}

// String says when the probe noticed. It returns "-" for a pause that was too short to notice.
func (r Readiness) String() string {
	text := "-"
	if r.Long || r.Down > 0 {
		text = "down never"
		if r.Down > 0 {
			text = fmt.Sprintf("down after %s, up after %s", seconds(r.Down), seconds(r.Up))
		}
	}
	if r.False > 0 {
		text += fmt.Sprintf(", %d times down while writes went on, first with %s", r.False, r.Why)
	}
	return text
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// Table writes the rounds as Markdown tables, one table for each fault.
func Table(rounds []*Round) string {
	var names []string
	byFault := map[string][]*Round{}
	for _, r := range rounds {
		if byFault[r.Fault] == nil {
			names = append(names, r.Fault)
		}
		byFault[r.Fault] = append(byFault[r.Fault], r)
	}
	var b strings.Builder
	b.WriteString("| time without writes: median, worst | rounds | cluster itself | pgtx | pgtx, key | control | " +
		"pgtx above the cluster: median, worst | readiness: down after, up after | reads: longest pause |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for _, name := range names {
		all := byFault[name]
		of := func(figure func(*Round) time.Duration) string {
			median, worst := spread(all, figure)
			return fmt.Sprintf("%.1f, %s", median.Seconds(), seconds(worst))
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %s | %s | %s |\n", name, len(all),
			of(func(r *Round) time.Duration { return r.Floor }),
			of(func(r *Round) time.Duration { return r.Ours[0].Pause }),
			of(func(r *Round) time.Duration { return r.Ours[1].Pause }),
			of(func(r *Round) time.Duration { return r.Control.Pause }),
			of(func(r *Round) time.Duration { return r.Ours[0].Pause - r.Floor }),
			followed(all),
			of(func(r *Round) time.Duration { return r.ReadPause }))
	}
	b.WriteString("\n| transfers | side | acknowledged | refused | unknown | resolved | of the rest applied | lost " +
		"| twice | denied |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, name := range names {
		for _, s := range sums(byFault[name]) {
			v := s.Verdict
			fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d | %d | %d | %d | %d |\n", name, s.Name,
				v.Acknowledged, v.Refused, v.Unknown, v.Resolved, v.UnknownApplied, v.Lost, v.Twice, v.Denied)
		}
	}
	b.WriteString("\n| beside | reads | with a token | violations | events | by resync | longest delay | migrations " +
		"met | connections that failed, most on one | broken |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, name := range names {
		var t Round
		met := 0
		for _, r := range byFault[name] {
			t.Reads += r.Reads
			t.Checks += r.Checks
			t.Violations += r.Violations
			t.Events += r.Events
			t.EventsResync += r.EventsResync
			t.EventDelay = max(t.EventDelay, r.EventDelay)
			t.FailedConns += r.FailedConns
			t.FailedWorst = max(t.FailedWorst, r.FailedWorst)
			t.Broken = append(t.Broken, r.Broken...)
			if r.MigrationMet != "" {
				met++
			}
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %s | %d | %d, %d | %d |\n", name,
			t.Reads, t.Checks, t.Violations,
			t.Events, t.EventsResync, seconds(t.EventDelay), met, t.FailedConns, t.FailedWorst, len(t.Broken))
	}
	b.WriteString("\n| errors | side | |\n|---|---|---|\n")
	for _, name := range names {
		for _, s := range sums(byFault[name]) {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", name, s.Name, categories(s.Errors))
		}
		reads := map[pgerr.Category]int{}
		for _, r := range byFault[name] {
			merge(reads, r.ReadErrors)
		}
		fmt.Fprintf(&b, "| %s | reads | %s |\n", name, categories(reads))
	}
	return b.String()
}

// spread returns the median (the lower one of an even number) and the maximum.
func spread(rounds []*Round, figure func(*Round) time.Duration) (median, worst time.Duration) {
	var all []time.Duration
	for _, r := range rounds {
		all = append(all, figure(r))
	}
	slices.Sort(all)
	return all[(len(all)-1)/2], all[len(all)-1]
}

// followed describes how readiness followed the pauses that it had to notice.
func followed(rounds []*Round) string {
	var noticed []*Round
	long, alarms := 0, 0
	for _, r := range rounds {
		alarms += r.Readiness.False
		if r.Readiness.Long {
			long++
		}
		if r.Readiness.Down > 0 {
			noticed = append(noticed, r)
		}
	}
	text := fmt.Sprintf("%d of %d", len(noticed), long)
	if len(noticed) > 0 {
		down, downWorst := spread(noticed, func(r *Round) time.Duration { return r.Readiness.Down })
		up, upWorst := spread(noticed, func(r *Round) time.Duration { return r.Readiness.Up })
		text = fmt.Sprintf("%.1f, %s; %.1f, %s (%s)", down.Seconds(), seconds(downWorst), up.Seconds(),
			seconds(upWorst), text)
	}
	if alarms > 0 {
		text += fmt.Sprintf(", %d false", alarms)
	}
	return text
}

// sums adds the sides of several rounds up.
func sums(rounds []*Round) []Side {
	var all []Side
	for _, r := range rounds {
		for i, s := range append(slices.Clone(r.Ours), r.Control) {
			if i == len(all) {
				all = append(all, Side{Name: s.Name, Errors: map[pgerr.Category]int{}})
			}
			all[i].Verdict = all[i].Verdict.Add(s.Verdict)
			merge(all[i].Errors, s.Errors)
		}
	}
	return all
}

func merge(into, from map[pgerr.Category]int) {
	for _, category := range slices.Collect(maps.Keys(from)) {
		into[category] += from[category]
	}
}
