package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/page-builder/persistence/pgmigrate/internal/load"
	"github.com/page-builder/persistence/pgmigrate/internal/session"
	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// script is a seed or a repeatable migration.
type script struct {
	load.Script
	step step
}

func newScript(s load.Script, name string) *script {
	f := &script{Script: s, step: step{
		migration: &Migration{Name: name, Up: s.SQL, upLine: 1}, direction: DirectionUp, transactional: true,
	}}
	f.step.statements, _ = sqlscan.Split(s.SQL)
	return f
}

// scriptTable records which scripts have run.
type scriptTable struct {
	name, key string // key: the columns of its primary key after version_table
}

func (r *run) createScriptTable(ctx context.Context, table scriptTable) error {
	_, err := r.conn.Exec(ctx, fmt.Sprintf(`
create table if not exists %s.%s (
  version_table text not null,
  path text not null,
  checksum text not null,
  run_at timestamptz not null default now(),
  role text not null default session_user,
  client text not null,
  primary key (version_table, %s)
)`, r.m.settings.historySchema, table.name, table.key))
	if err != nil {
		return fmt.Errorf("create table %s.%s: %w", r.m.settings.historySchema, table.name, err)
	}
	return nil
}

// runScripts runs scripts in one transaction, which begin starts, and records them in table. It
// tries again while others hold locks.
func (r *run) runScripts(
	ctx context.Context, scripts []*script, table scriptTable, begin func(context.Context) error,
) error {
	conn := r.conn.PgConn()
	err := r.retry(ctx, func(ctx context.Context) error {
		r.step = nil
		if err := begin(ctx); err != nil {
			return r.rollback(ctx, err)
		}
		for n, f := range scripts {
			r.step = &f.step
			r.step.tries++
			r.step.started = time.Now()
			if err := r.sendSection(ctx, r.step); err != nil {
				return r.rollback(ctx, err)
			}
			r.step.current = 0
			if err := restoreEncoding(ctx, conn); err != nil {
				return r.rollback(ctx, err)
			}
			var rest []string
			if n == len(scripts)-1 {
				// DISCARD TEMP refuses tables with deferred triggers to fire. Constraints stay
				// immediate to the end of the transaction: only the last file may be checked.
				rest = append(rest, "set constraints all immediate")
			}
			record := fmt.Sprintf(`insert into %[1]s.%[2]s (version_table, path, checksum, client)
values (%[4]s, %[5]s, %[6]s, %[7]s) on conflict (version_table, %[3]s) do update set checksum = excluded.checksum,
  run_at = excluded.run_at, role = excluded.role, client = excluded.client`, r.m.settings.historySchema, table.name,
				table.key, literal(r.m.settings.versionTable), literal(f.Path), literal(f.Checksum), literal(r.client))
			rest = append(append(rest, session.ResetSettings(r.conn)...), "close all", "discard temp", record)
			if err := exec(ctx, conn, strings.Join(rest, "; ")); err != nil {
				return r.rollback(ctx, err)
			}
		}
		if conn.TxStatus() != 'T' {
			return errors.New("a statement has ended the transaction")
		}
		if err := exec(ctx, conn, "commit"); err != nil {
			return r.rollback(ctx, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.step = nil
	return r.resetSession(ctx)
}
