package pghealth

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgerr"
)

// Schema tells which version the database's schema has and which one this binary needs. It is the
// seam to a migration tool; this package knows none.
//
// SchemaVersion runs on the probe's own connection, so that a saturated pool does not matter, and
// must not use another one or keep conn. ctx ends after Options.Timeout. It is not called
// concurrently. A panic in it fails the check.
type Schema interface {
	SchemaVersion(ctx context.Context, conn *pgx.Conn) (SchemaVersion, error)
}

// SchemaFunc is a [Schema] made of a function.
type SchemaFunc func(ctx context.Context, conn *pgx.Conn) (SchemaVersion, error)

// SchemaVersion calls f.
func (f SchemaFunc) SchemaVersion(ctx context.Context, conn *pgx.Conn) (SchemaVersion, error) {
	return f(ctx, conn)
}

// SchemaVersion compares a database with a binary. Current below Needed fails the check, and so
// does Dirty. Current above Needed passes: during a rollout old instances go on serving on the new
// schema.
type SchemaVersion struct {
	Current int64 // of the database
	Needed  int64 // by this binary
	Dirty   bool  // a migration stopped half-way
}

func (p *Probe) measureSchema(ctx context.Context) observation {
	if p.opts.Schema == nil {
		return observation{status: fail, output: "no schema is known: set Options.Schema"}
	}
	var version SchemaVersion
	err := p.session.do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		version, err = p.opts.Schema.SchemaVersion(ctx, conn)
		return err
	})
	if err != nil {
		seen := unread(err, "the version of the schema could not be read")
		if seen.category == pgerr.TooManyConnections && p.poolConnected() { // as for connectivity
			seen.status, seen.output = warn, outputNoSlot
		}
		if seen.category == pgerr.Timeout {
			seen.output = outputNoAnswer
		}
		return seen
	}

	current := float64(version.Current)
	seen := observation{
		status: pass, value: &current, unit: "version",
		figures: map[string]int64{"needed": version.Needed},
	}
	switch {
	case version.Dirty:
		seen.status, seen.output = fail, "a migration stopped half-way"
		seen.cause = fmt.Errorf("version %d is dirty: repair it with the migration tool", version.Current)
	case version.Current < version.Needed:
		seen.status, seen.output = fail, "the schema is behind this binary"
		seen.cause = errors.New("migrations are missing: run them before, or with, the deployment of this binary")
	}
	return seen
}
