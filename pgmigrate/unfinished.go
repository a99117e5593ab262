package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/internal/index"
	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// Unfinished is a disable-tx section that has begun and has not recorded its version.
type Unfinished struct {
	Version    int32
	Name       string
	Direction  Direction
	Statement  int // the last one begun, from 1; 0 if none was
	Line       int // where it begins in the file; 0 if unknown
	StartedAt  time.Time
	Role       string // the session's user in the database
	Client     string // user@host of the process
	Repeatable bool   // the next run continues the section at Statement

	InvalidIndexes []string // of the database, as an interrupted CREATE INDEX CONCURRENTLY leaves them
}

// DirtyError is returned, before anything is changed, when a disable-tx section was interrupted and
// only a person can tell what it left behind. See [Migrator.Resolve].
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
	if e.Repeatable {
		b.WriteString("run it again, and it continues")
		return b.String()
	}
	fmt.Fprintf(&b, "finish it or undo it by hand, then resolve version %d as applied (all of the migration is in the "+
		"database) or as rolled back (nothing of it is)", e.Version)
	if len(e.InvalidIndexes) > 0 {
		fmt.Fprintf(&b, "; invalid indexes: %s", strings.Join(e.InvalidIndexes, ", "))
	}
	return b.String()
}

// readUnfinished reads the details of an unfinished entry and decides whether the section
// continues.
func (m *Migrator) readUnfinished(ctx context.Context, conn *pgx.Conn, k mark) (*Unfinished, error) {
	u := &Unfinished{Version: k.version, Direction: Direction(k.action)}
	var name, before, current string
	var drops bool
	err := conn.QueryRow(ctx, `
select name, coalesce(statement, 0), coalesce(line, 0), started_at, role, client, coalesce(repeatable, true),
	coalesce(index_name, ''), coalesce(drops_index, false), coalesce(before, ''), coalesce(current, '')
from `+m.settings.historySchema+`.history where `+m.settings.entryKey(k.id), pgx.QueryExecModeExec).
		Scan(&u.Name, &u.Statement, &u.Line, &u.StartedAt, &u.Role, &u.Client, &u.Repeatable, &name, &drops,
			&before, &current)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	u.InvalidIndexes = index.ListInvalid(ctx, conn)
	if u.Repeatable && u.Statement > 0 {
		u.Repeatable = m.continues(k, u.Statement, before, current)
	}
	if k.progress == ProgressFailed || !u.Repeatable || name == "" {
		return u, nil
	}
	// The process is gone. Only the catalog knows whether its last statement has finished.
	state, err := index.Read(ctx, conn, name)
	if err != nil {
		return nil, err
	}
	u.Repeatable = (state == index.Missing || state == index.Invalid) && !drops || drops && state != index.Missing
	return u, nil
}

// continues reports whether the folder's section can continue at statement n of the interrupted
// one: the file still has the statements that ran, and n itself unless n has failed and left
// nothing.
func (m *Migrator) continues(k mark, n int, before, current string) bool {
	if int(k.version) > len(m.folder.migrations) {
		return false
	}
	mig := m.folder.migration(k.version)
	s := &step{migration: mig, direction: Direction(k.action)}
	s.statements, _ = sqlscan.Split(s.sql())
	if n > len(s.statements)+1 || mig.Transactional(s.direction) && n > 1 {
		return false
	}
	return s.digest(n-1) == before && (k.progress == ProgressFailed || s.digest(n) == current) && s.resumable(n)
}

// unfinished returns the section that was interrupted, or the one that another instance works on.
// It reads twice before it calls a section interrupted: the instance may have finished between the
// two queries.
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
			h, err := readHolder(ctx, conn)
			if err != nil {
				return p, nil, nil, err
			}
			if held = h != nil; !held && try == 0 {
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
