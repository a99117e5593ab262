package pgmigrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// script is a file of plain SQL, without templates and sections: a seed or a repeatable migration.
type script struct {
	path, checksum string
	step           step
}

// scriptTable records which scripts were run.
type scriptTable struct {
	name, key string // the columns of its primary key beside version_table
}

// readScripts reads the *.sql files at the top of a folder, in the order of their names.
func readScripts(fsys fs.FS, folder string) ([]*script, error) {
	entries, err := fs.ReadDir(fsys, folder)
	if err != nil {
		return nil, err
	}
	var scripts []*script
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".sql") {
			continue
		}
		name := path.Join(folder, e.Name())
		body, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		scripts = append(scripts, newScript(name, string(body)))
	}
	return scripts, nil
}

func newScript(name, sql string) *script {
	sum := sha256.Sum256([]byte(strings.ReplaceAll(sql, "\r\n", "\n")))
	f := &script{path: name, checksum: hex.EncodeToString(sum[:])}
	f.step = step{
		migration: &loadedMigration{Migration: Migration{Name: name, Up: sql, upLine: 1}},
		direction: DirectionUp, transactional: true,
	}
	f.step.statements, _ = sqlscan.Split(sql)
	return f
}

// check returns what is wrong with the text, if anything is.
func (f *script) check() (p Problem, bad bool) {
	sql := f.step.sql()
	p = Problem{File: f.path, Line: 1}
	switch {
	case strings.HasPrefix(sql, "\ufeff"):
		p.Kind, p.Detail, p.Hint = ProblemByteOrderMark, "the file begins with a byte order mark",
			"save it as UTF-8 without BOM"
		return p, true
	case !utf8.ValidString(sql):
		p.Kind, p.Line, p.Detail, p.Hint = ProblemEncoding, 0, "the file is not valid UTF-8", "save it as UTF-8"
		return p, true
	}
	line := func(offset int) int { return 1 + strings.Count(sql[:offset], "\n") }
	for _, s := range f.step.statements {
		p.Line = line(s.Start)
		switch {
		case s.CopyData:
			p.Kind, p.Detail, p.Hint = ProblemCopy,
				"COPY FROM STDIN or TO STDOUT needs a client that sends or takes the rows", "write INSERT"
			return p, true
		case endsTransaction(s):
			p.Kind, p.Detail, p.Hint = ProblemTransaction,
				s.Words[0]+": the file runs in a transaction already", "remove it"
			return p, true
		}
	}
	for _, c := range findDirectives(sql, f.step.statements) {
		if c.name == "check" {
			p.Line = line(c.offset)
			p.Kind, p.Detail, p.Hint = ProblemDirective, "only a migration has checks", "remove it"
			return p, true
		}
	}
	if _, faults := sqlscan.Split(sql); len(faults) > 0 {
		p.Line = line(faults[0].Offset)
		p.Kind, p.Detail, p.Hint = faultProblem(faults[0])
		return p, true
	}
	return Problem{}, false
}

// createScriptTable makes the table if it is missing.
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

// runScripts runs scripts in one transaction and records them in table. It tries again while others
// hold locks that it needs. begin starts the transaction.
func (r *run) runScripts(
	ctx context.Context, scripts []*script, table scriptTable, begin func(context.Context) error,
) error {
	conn := r.conn.PgConn()
	err := r.retry(ctx, func(ctx context.Context) error {
		r.step = nil
		if err := begin(ctx); err != nil {
			return r.rollback(ctx, err)
		}
		for _, f := range scripts {
			r.step = &f.step
			r.step.tries++
			r.step.started = time.Now()
			if err := r.sendSection(ctx, r.step); err != nil {
				return r.rollback(ctx, err)
			}
			r.step.current = 0
			record := fmt.Sprintf(`insert into %[1]s.%[2]s (version_table, path, checksum, client)
values (%[4]s, %[5]s, %[6]s, %[7]s) on conflict (version_table, %[3]s) do update set checksum = excluded.checksum,
  run_at = excluded.run_at, role = excluded.role, client = excluded.client`, r.m.settings.historySchema, table.name,
				table.key, literal(r.m.settings.versionTable), literal(f.path), literal(f.checksum), literal(r.client))
			sql := strings.Join(append(resetSettings(r.conn), "close all", "discard temp", record), "; ")
			if err := exec(ctx, conn, sql); err != nil {
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
