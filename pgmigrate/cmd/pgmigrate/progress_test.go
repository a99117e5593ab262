package main

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgmigrate"
)

// What a terminal is sent, piece by piece.
func TestProgressLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &progress{w: &out}
	e := pgmigrate.Event{Version: 3, Name: "003_index.sql", Direction: pgmigrate.DirectionUp}
	for _, step := range []struct {
		kind pgmigrate.EventKind
		set  func(*pgmigrate.Event)
		want string
	}{
		{pgmigrate.EventWaiting, func(e *pgmigrate.Event) { e.Err = errors.New("busy") }, "\rwaiting: busy\n"},
		{pgmigrate.EventStart, nil, "\rup   003_index.sql ..."},
		{pgmigrate.EventStatement, func(e *pgmigrate.Event) { e.Line = 2 }, "\rup   003_index.sql:2 ..."},
		{pgmigrate.EventBuild, func(e *pgmigrate.Event) {
			e.Line, e.Phase, e.Done, e.Total = 2, "building", 1, 4
		}, "\rup   003_index.sql:2 ... building, 25 %"},
		{pgmigrate.EventBuild, func(e *pgmigrate.Event) {
			e.Line, e.Phase = 2, "waiting"
		}, "\rup   003_index.sql:2 ... waiting       "},
		{pgmigrate.EventDone, func(e *pgmigrate.Event) {
			e.Duration = 2 * time.Second
		}, "\rup   003_index.sql ... 2s       \n"},
	} {
		event := e
		event.Kind = step.kind
		if step.set != nil {
			step.set(&event)
		}
		out.Reset()
		p.event(event)
		if out.String() != step.want {
			t.Errorf("%s: got %q, want %q", step.kind, out.String(), step.want)
		}
	}
}
