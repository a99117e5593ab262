package pgmigrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// SeedResult is what [Migrator.Seed] did. Beside an error it holds the files that were run before.
type SeedResult struct {
	Run     []string // files, in order
	Skipped []string // files that had been run before as they are now
}

// seedFile is one file of a folder of seeds.
type seedFile struct {
	path, sql, checksum string
}

// Seed runs the *.sql files at the top of fsys, then those in its folder environment, each part in
// the order of their names. Each file is plain SQL, without templates, and runs in a transaction of
// its own, together with the row that records it: once per content. A file that was edited runs
// again, so write what bears that, such as INSERT … ON CONFLICT DO UPDATE. An empty environment
// means the top only; a folder that does not exist, a warning.
//
// The schema must be at the folder's last version or above. Any number of instances may seed at
// once: they take turns by the migration lock, and if nothing is to be done Seed takes no lock. The
// lock timeout applies, without retries.
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
		if err := r.createSeeds(ctx); err != nil {
			return err
		}
		done, err := m.seeded(ctx, r.conn)
		if err != nil {
			return err
		}
		for _, f := range files {
			if done[f.path] == f.checksum {
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

func (m *Migrator) readSeeds(fsys fs.FS, environment string) ([]seedFile, error) {
	if fsys == nil {
		return nil, errors.New("the file system is nil: pass an embed.FS or os.DirFS")
	}
	if !environmentName.MatchString(environment) {
		return nil, fmt.Errorf("environment %q: letters, digits, _ and -", environment)
	}
	var files []seedFile
	folders := []string{"."}
	if environment != "" {
		folders = append(folders, environment)
	}
	for _, folder := range folders {
		entries, err := fs.ReadDir(fsys, folder)
		if errors.Is(err, fs.ErrNotExist) && folder != "." {
			m.settings.logger.Warn("there are no seeds for this environment", "environment", environment)
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() || !strings.HasSuffix(e.Name(), ".sql") {
				continue
			}
			name := path.Join(folder, e.Name())
			body, err := fs.ReadFile(fsys, name)
			if err != nil {
				return nil, err
			}
			f, err := newSeedFile(name, string(body))
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	}
	return files, nil
}

func newSeedFile(name, sql string) (seedFile, error) {
	switch {
	case strings.HasPrefix(sql, "\ufeff"):
		return seedFile{}, fmt.Errorf("%s:1: the file begins with a byte order mark: save it as UTF-8 without BOM",
			name)
	case !utf8.ValidString(sql):
		return seedFile{}, fmt.Errorf("%s: the file is not valid UTF-8: save it as UTF-8", name)
	}
	statements, faults := sqlscan.Split(sql)
	line := func(offset int) int { return 1 + strings.Count(sql[:offset], "\n") }
	for _, s := range statements {
		switch {
		case s.CopyData:
			return seedFile{}, fmt.Errorf("%s:%d: COPY FROM STDIN or TO STDOUT needs a client that sends or takes the "+
				"rows: write INSERT", name, line(s.Start))
		case endsTransaction(s):
			return seedFile{}, fmt.Errorf("%s:%d: %s: a seed runs in a transaction of its own: remove it", name,
				line(s.Start), s.Words[0])
		}
	}
	if len(faults) > 0 {
		_, detail, hint := faultProblem(faults[0])
		return seedFile{}, fmt.Errorf("%s:%d: %s: %s", name, line(faults[0].Offset), detail, hint)
	}
	sum := sha256.Sum256([]byte(strings.ReplaceAll(sql, "\r\n", "\n")))
	return seedFile{path: name, sql: sql, checksum: hex.EncodeToString(sum[:])}, nil
}

func paths(files []seedFile) []string {
	var list []string
	for _, f := range files {
		list = append(list, f.path)
	}
	return list
}

// unseeded counts, without a lock, the files that are to be run.
func (m *Migrator) unseeded(ctx context.Context, files []seedFile) (int, error) {
	conn, err := m.connectReadOnly(ctx)
	if err != nil {
		return 0, err
	}
	defer disconnect(ctx, conn)
	done, err := m.seeded(ctx, conn)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, f := range files {
		if done[f.path] != f.checksum {
			n++
		}
	}
	return n, nil
}

// seeded returns the checksums of the files that were run.
func (m *Migrator) seeded(ctx context.Context, conn *pgx.Conn) (map[string]string, error) {
	rows, err := conn.Query(ctx, "select path, checksum from "+m.settings.historySchema+
		".seed where version_table = $1",
		pgx.QueryExecModeExec, m.settings.versionTable)
	if err != nil {
		return nil, fmt.Errorf("read seeds: %w", err)
	}
	done := map[string]string{}
	var name, checksum string
	_, err = pgx.ForEachRow(rows, []any{&name, &checksum}, func() error {
		done[name] = checksum
		return nil
	})
	if err != nil && !undefinedTable(err) {
		return nil, fmt.Errorf("read seeds: %w", err)
	}
	return done, nil
}

func (r *run) createSeeds(ctx context.Context) error {
	_, err := r.conn.Exec(ctx, `
create table if not exists `+r.m.settings.historySchema+`.seed (
  version_table text not null,
  path text not null,
  checksum text not null,
  run_at timestamptz not null default now(),
  role text not null default session_user,
  client text not null,
  primary key (version_table, path)
)`)
	if err != nil {
		return fmt.Errorf("create seed table: %w", err)
	}
	return nil
}

func (r *run) seed(ctx context.Context, f seedFile) error {
	start := time.Now()
	err := pgx.BeginFunc(ctx, r.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, f.sql); err != nil {
			return err
		}
		if err := exec(ctx, r.conn.PgConn(), strings.Join(resetSettings(r.conn), "; ")); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
insert into `+r.m.settings.historySchema+`.seed (version_table, path, checksum, client) values ($1, $2, $3, $4)
on conflict (version_table, path) do update set checksum = excluded.checksum, run_at = excluded.run_at,
	role = excluded.role, client = excluded.client`,
			pgx.QueryExecModeExec, r.m.settings.versionTable, f.path, f.checksum, r.client)
		return err
	})
	if err != nil {
		place := f.path
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Position > 0 {
			runes := []rune(f.sql)
			place = fmt.Sprintf("%s:%d", place,
				1+strings.Count(string(runes[:min(int(pgErr.Position)-1, len(runes))]), "\n"))
		}
		return fmt.Errorf("seed %s: %w; the transaction was rolled back", place, err)
	}
	if err := r.resetSession(ctx); err != nil {
		return fmt.Errorf("seed %s: %w", f.path, err)
	}
	r.m.settings.logger.Info("seeded", "file", f.path, "duration", time.Since(start))
	return nil
}
