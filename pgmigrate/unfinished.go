package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Unfinished is a disable-tx section that was begun and has not recorded its version.
type Unfinished struct {
	Version    int32
	Name       string
	Direction  Direction
	Statement  int // the last one begun, from 1; 0 if none was
	Line       int // where it begins in the file; 0 if unknown
	StartedAt  time.Time
	Role       string // the session's user in the database
	Client     string // user@host of the process
	Repeatable bool   // the section may simply run again: the next run does that by itself

	InvalidIndexes []string // of the database, such as an interrupted CREATE INDEX CONCURRENTLY leaves
}

// DirtyError is returned, before anything is changed, when a disable-tx section was interrupted
// where only a person can tell what it left behind. See [Migrator.Resolve].
type DirtyError struct {
	Unfinished
}

func (e *DirtyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "migrate %s: %s", e.Direction, e.Name)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	fmt.Fprintf(&b, ": begun by %s (%s) at %s and interrupted at statement %d, without a transaction: ",
		e.Client, e.Role, e.StartedAt.Format(time.RFC3339), e.Statement)
	applied, rolledBack := "all of the migration is in the database", "nothing of it is"
	fmt.Fprintf(&b, "finish it or undo it by hand, then resolve version %d as applied (%s) or as rolled back (%s)",
		e.Version, applied, rolledBack)
	if len(e.InvalidIndexes) > 0 {
		fmt.Fprintf(&b, "; invalid indexes: %s", strings.Join(e.InvalidIndexes, ", "))
	}
	return b.String()
}

// readUnfinished reads an unfinished entry's details and decides whether its section may run again.
func (m *Migrator) readUnfinished(ctx context.Context, conn *pgx.Conn, k mark) (*Unfinished, error) {
	u := &Unfinished{Version: k.version, Direction: Direction(k.action)}
	var index string
	var drops bool
	err := conn.QueryRow(ctx, `
select name, coalesce(statement, 0), coalesce(line, 0), started_at, role, client, coalesce(repeatable, true),
	coalesce(index_name, ''), coalesce(drops_index, false)
from `+m.settings.historySchema+`.history where id = $1`, pgx.QueryExecModeExec, k.id).
		Scan(&u.Name, &u.Statement, &u.Line, &u.StartedAt, &u.Role, &u.Client, &u.Repeatable, &index, &drops)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	u.InvalidIndexes = invalidIndexes(ctx, conn)
	// The section that was begun must be the one that would run.
	if int(k.version) > len(m.folder.migrations) || m.folder.migrations[k.version-1].Checksum() != k.checksum {
		u.Repeatable = false
	}
	if k.progress == ProgressFailed || !u.Repeatable || index == "" {
		return u, nil
	}
	// The process is gone, and nobody knows whether its last statement came to an end; the
	// catalog does.
	state, err := readIndexState(ctx, conn, index)
	if err != nil {
		return nil, err
	}
	u.Repeatable = (state == indexMissing || state == indexInvalid) && !drops || drops && state != indexMissing
	return u, nil
}

// unfinished returns what was interrupted, and what is being worked on right now; at most one of
// them. It reads twice before it calls a section interrupted: the instance that worked on it may
// have come to its end between the two questions.
func (m *Migrator) unfinished(ctx context.Context, conn *pgx.Conn) (p position, dirty, running *Unfinished, err error) {
	for try := 0; ; try++ {
		p, err = m.readPosition(ctx, conn)
		if err != nil {
			return p, nil, nil, err
		}
		k, ok := p.unfinished()
		if !ok {
			return p, nil, nil, nil
		}
		held := false
		if k.progress == ProgressRunning {
			if held, err = lockHeld(ctx, conn); err != nil {
				return p, nil, nil, err
			}
			if !held && try == 0 {
				continue
			}
		}
		u, err := m.readUnfinished(ctx, conn, k)
		if errors.Is(err, pgx.ErrNoRows) && try < 2 {
			continue // the history was dropped in between
		}
		if err != nil {
			return p, nil, nil, err
		}
		if held {
			return p, nil, u, nil
		}
		return p, u, nil, nil
	}
}
