package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// SeedResult is what [Migrator.Seed] did. Beside an error it holds the files that were run before.
type SeedResult struct {
	Run     []string // files, in order
	Skipped []string // files that had been run before as they are now
}

var seedTable = scriptTable{"seed", "path, checksum"}

// Seed runs the *.sql files at the top of fsys, then those in its folder environment, each part in
// the order of their names. Each file is plain SQL, without templates, and runs in a transaction of
// its own, together with the row that records it: once per content. A file that was edited runs
// again, so write what bears that, such as INSERT … ON CONFLICT DO UPDATE. A content that was run
// before is not run again, even if the file was edited in between: two deployed versions would undo
// each other's seeds. An empty environment means the top only; a folder that does not exist, a
// warning.
//
// The schema must be at the folder's last version or above. Any number of instances may seed at
// once: they take turns by the migration lock, and if nothing is to be done Seed takes no lock. A
// file that cannot get a table lock within the lock timeout is tried again until ctx ends.
func (m *Migrator) Seed(ctx context.Context, fsys fs.FS, environment string) (SeedResult, error) {
	files, err := m.readSeeds(fsys, environment)
	if err != nil {
		return SeedResult{}, fmt.Errorf("seed: %w", err)
	}
	todo, err := m.unseeded(ctx, files)
	if err != nil {
		return SeedResult{}, err
	}
	if todo == 0 {
		return SeedResult{Skipped: paths(files)}, nil
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
		done, err := m.seeded(ctx, r.conn)
		if err != nil {
			return err
		}
		for _, f := range files {
			if done[[2]string{f.path, f.checksum}] {
				result.Skipped = append(result.Skipped, f.path)
				continue
			}
			if err := r.seed(ctx, f); err != nil {
				return err
			}
			result.Run = append(result.Run, f.path)
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
	files, err := readScripts(fsys, ".")
	if err != nil {
		return nil, err
	}
	if environment != "" {
		more, err := readScripts(fsys, environment)
		if errors.Is(err, fs.ErrNotExist) {
			m.settings.logger.Warn("there are no seeds for this environment", "environment", environment)
		} else if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	for _, f := range files {
		if p, bad := f.check(); bad {
			return nil, errors.New(p.String())
		}
	}
	return files, nil
}

func paths(files []*script) []string {
	var list []string
	for _, f := range files {
		list = append(list, f.path)
	}
	return list
}

// unseeded counts, without a lock, the files that are to be run.
func (m *Migrator) unseeded(ctx context.Context, files []*script) (int, error) {
	conn, err := m.connectReadOnly(ctx)
	if err != nil {
		return 0, err
	}
	defer session.Close(ctx, conn)
	if err := m.refuseViews(ctx, conn); err != nil {
		return 0, fmt.Errorf("read seeds: %w", err)
	}
	done, err := m.seeded(ctx, conn)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, f := range files {
		if !done[[2]string{f.path, f.checksum}] {
			n++
		}
	}
	return n, nil
}

// seeded returns the paths and checksums that were run.
func (m *Migrator) seeded(ctx context.Context, conn *pgx.Conn) (map[[2]string]bool, error) {
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
		place := f.path
		if line, column := f.step.place(err); line > 0 {
			place = fmt.Sprintf("%s:%d:%d", place, line, column)
		}
		return fmt.Errorf("seed %s: %w; the transaction was rolled back", place, err)
	}
	r.m.settings.logger.Info("seeded", "file", f.path, "duration", time.Since(f.step.started))
	return nil
}
