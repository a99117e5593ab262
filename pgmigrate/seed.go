package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/internal/load"
	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// SeedResult is what [Migrator.Seed] did. With an error it holds the files that ran before.
type SeedResult struct {
	Run     []string // files, in order
	Skipped []string // files whose content had run before
}

var seedTable = scriptTable{"seed", "path, checksum"}

// Seed runs the *.sql files at the top of fsys, then those in its folder environment, each in the
// order of their names. Each file is plain SQL, without templates, and runs in its own transaction
// together with the row that records it: once per content. A file that was edited runs again, so
// write statements that may, such as INSERT … ON CONFLICT DO UPDATE. A content that has run before
// does not run again after other edits: two deployed versions would undo each other's seeds. An
// empty environment means the top only. A folder that does not exist is a warning.
//
// The schema must be at the folder's last version or above. Several instances may seed at once:
// they take turns by the migration lock. If there is nothing to do, Seed takes no lock. A file that
// cannot get a table lock within the lock timeout is tried again until ctx ends.
func (m *Migrator) Seed(ctx context.Context, fsys fs.FS, environment string) (SeedResult, error) {
	files, err := m.readSeeds(fsys, environment)
	if err != nil {
		return SeedResult{}, fmt.Errorf("seed: %w", err)
	}
	if pending, err := m.hasSeeds(ctx, files); err != nil || !pending {
		var result SeedResult
		if err == nil {
			for _, f := range files {
				result.Skipped = append(result.Skipped, f.Path)
			}
		}
		return result, err
	}
	var result SeedResult
	err = m.withLock(ctx, func(r *run) error {
		p, err := m.readPosition(ctx, r.conn)
		if err != nil {
			return err
		}
		if k, ok := p.unfinished(); ok && k.version <= m.folder.latest() {
			return r.dirty(ctx, k)
		}
		if p.version < m.folder.latest() {
			return fmt.Errorf("seed: the database is at version %d of %d: migrate up first",
				p.version, m.folder.latest())
		}
		r.takePosition(p)
		if err := r.prepare(ctx); err != nil {
			return err
		}
		if err := r.createScriptTable(ctx, seedTable); err != nil {
			return err
		}
		done, err := m.readSeeded(ctx, r.conn)
		if err != nil {
			return err
		}
		for _, f := range files {
			if done[[2]string{f.Path, f.Checksum}] {
				result.Skipped = append(result.Skipped, f.Path)
				continue
			}
			if err := r.seed(ctx, f); err != nil {
				return err
			}
			result.Run = append(result.Run, f.Path)
		}
		return nil
	})
	return result, err
}

// environmentName keeps an environment from naming another folder.
var environmentName = regexp.MustCompile(`\A[A-Za-z0-9_-]*\z`)

func (m *Migrator) readSeeds(fsys fs.FS, environment string) ([]*script, error) {
	if fsys == nil {
		return nil, errors.New("the file system is nil: pass an embed.FS or os.DirFS")
	}
	if !environmentName.MatchString(environment) {
		return nil, fmt.Errorf("environment %q: letters, digits, _ and -", environment)
	}
	folders := []string{"."}
	if environment != "" {
		folders = append(folders, environment)
	}
	var files []*script
	for _, folder := range folders {
		scripts, problems, err := load.Scripts(fsys, folder)
		switch {
		case folder != "." && errors.Is(err, fs.ErrNotExist):
			m.settings.logger.Warn("there are no seeds for this environment", "environment", environment)
		case err != nil:
			return nil, err
		case len(problems) > 0:
			return nil, errors.New(Problem(problems[0]).String())
		}
		for _, s := range scripts {
			files = append(files, newScript(s, s.Path))
		}
	}
	return files, nil
}

// hasSeeds reports, without a lock, whether a file has to run.
func (m *Migrator) hasSeeds(ctx context.Context, files []*script) (bool, error) {
	conn, err := m.connectReadOnly(ctx)
	if err != nil {
		return false, err
	}
	defer session.Close(ctx, conn)
	if err := m.refuseViews(ctx, conn); err != nil {
		return false, fmt.Errorf("read seeds: %w", err)
	}
	done, err := m.readSeeded(ctx, conn)
	if err != nil {
		return false, err
	}
	for _, f := range files {
		if !done[[2]string{f.Path, f.Checksum}] {
			return true, nil
		}
	}
	return false, nil
}

// readSeeded returns the paths and checksums of the seeds that have run.
func (m *Migrator) readSeeded(ctx context.Context, conn *pgx.Conn) (map[[2]string]bool, error) {
	rows, err := conn.Query(ctx, "select path, checksum from "+m.settings.historySchema+
		".seed where version_table = $1",
		pgx.QueryExecModeExec, m.settings.versionTable)
	if err != nil {
		return nil, fmt.Errorf("read seeds: %w", err)
	}
	done := map[[2]string]bool{}
	var name, checksum string
	_, err = pgx.ForEachRow(rows, []any{&name, &checksum}, func() error {
		done[[2]string{name, checksum}] = true
		return nil
	})
	if err != nil && !undefinedTable(err) {
		return nil, fmt.Errorf("read seeds: %w", err)
	}
	return done, nil
}

func (r *run) seed(ctx context.Context, f *script) error {
	begin := func(ctx context.Context) error { return exec(ctx, r.conn.PgConn(), "begin") }
	if err := r.runScripts(ctx, []*script{f}, seedTable, begin); err != nil {
		place := f.Path
		if line, column := f.step.place(err); line > 0 {
			place = fmt.Sprintf("%s:%d:%d", place, line, column)
		}
		err = f.step.hidePassword(err)
		return fmt.Errorf("seed %s: %w; the transaction was rolled back", place, err)
	}
	r.m.settings.logger.Info("seeded", "file", f.Path, "duration", time.Since(f.step.started))
	return nil
}
