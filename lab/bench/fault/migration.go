package fault

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/lab/bench/migration"
)

// migrators are the tools in this order, pgmigrate first.
var migrators = []string{"pgmigrate", "tern", "goose", "golang-migrate"}

func toolNamed(name string) (migration.Tool, error) {
	at := slices.Index(migration.Names(), name)
	if at < 0 {
		return migration.Tool{}, fmt.Errorf("no tool %q", name)
	}
	return migration.Tools[at], nil
}

// threeStatements insert the rows 1, 2 and 3 into applied. The third takes as long as hold.
const threeStatements = "insert into applied values (1);\ninsert into applied values (2);\ninsert into applied " +
	"values (hold())"

var migrationFaults = []struct {
	name string
	see  func(ctx context.Context, m *migrationScene) (cell, error)
}{
	{"kill -9 in the third statement of a migration; the next run", killed(threeStatements)},
	{"the same, without a transaction", killed(migration.WithoutTransaction + threeStatements)},
	{
		"the same, with statements that fail if they run again",
		killed(migration.WithoutTransaction + "create table pages (id int);\n" + threeStatements),
	},
	{"a file was edited after it was applied", edited},
}

// migrationScene is an empty database that a tool migrates, with a table named applied.
type migrationScene struct {
	tool  migration.Tool
	url   string
	cfg   *pgx.ConnConfig
	admin *pgx.Conn
	hold  time.Duration
	limit time.Duration
	note  func(error) // adds the text below the table
}

// author matches the user and time of a migration, which a table leaves out.
var author = regexp.MustCompile(`begun by \S+ \(\S+\) at \S+`)

// migrationFaults adds the plays to p. The table is complete after them.
func (s *stage) migrationFaults(ctx context.Context, p *plays, admin *pgxpool.Pool) *table {
	t := &table{title: "Faults of a migration", sides: migrators, ours: 1}
	var mu sync.Mutex
	for i, f := range migrationFaults {
		cells := t.add(f.name)
		for j, name := range migrators {
			m := &migrationScene{hold: s.hold, limit: s.limit, note: func(err error) {
				text, _, _ := strings.Cut(err.Error(), "\n")
				text = name + ": " + author.ReplaceAllString(text, "begun by user@host (role) at …")
				mu.Lock()
				defer mu.Unlock()
				if !slices.Contains(t.notes, text) {
					t.notes = append(t.notes, text)
				}
			}}
			p.add(i < len(migrationFaults)-1, func() (err error) {
				if m.tool, err = toolNamed(name); err == nil {
					cells[j], err = m.play(ctx, s, admin, f.see)
				}
				if err != nil {
					return fmt.Errorf("%s, %s: %w", f.name, name, err)
				}
				return nil
			})
		}
	}
	return t
}

func (m *migrationScene) play(
	ctx context.Context, s *stage, admin *pgxpool.Pool, see func(context.Context, *migrationScene) (cell, error),
) (c cell, err error) {
	name := fmt.Sprintf("migrated_%d", s.scenes.Add(1))
	if _, err := admin.Exec(ctx, "create database "+name); err != nil {
		return cell{}, err
	}
	cfg := admin.Config().ConnConfig
	m.url = fmt.Sprintf("postgres://%s@/%s?host=%s&port=%d", cfg.User, name, cfg.Host, cfg.Port)
	if m.cfg, err = harness.ConnConfig(m.url); err != nil {
		return cell{}, err
	}
	err = harness.Session(ctx, m.url, func(conn *pgx.Conn) error {
		m.admin = conn
		_, err := conn.Exec(ctx, "create table applied (n int); "+holdFor(m.hold))
		if err == nil {
			c, err = see(ctx, m)
		}
		return err
	})
	return c, err
}

// holdFor makes hold, a function that returns 3 after d.
func holdFor(d time.Duration) string {
	return fmt.Sprintf("create or replace function hold() returns int language plpgsql as 'begin perform "+
		"pg_sleep(%f); return 3; end'", d.Seconds())
}

// killed kills a process of the tool in the migration's third statement, and reports what the next
// run does.
func killed(text string) func(context.Context, *migrationScene) (cell, error) {
	return func(ctx context.Context, m *migrationScene) (cell, error) {
		err := harness.KillChild(ctx, "faults",
			[]string{childTool + "=" + m.tool.Name, childURL + "=" + m.url, childText + "=" + text},
			func() (holds bool, err error) {
				err = m.admin.QueryRow(ctx, "select exists (select from pg_stat_activity where datname = "+
					"current_database() and wait_event = 'PgSleep')").Scan(&holds)
				return holds, err
			})
		if err != nil {
			return cell{}, err
		}
		if _, err := m.admin.Exec(ctx, holdFor(0)); err != nil {
			return cell{}, err
		}
		took, ended, err := endless(ctx, m.limit, func(ctx context.Context) error {
			return m.tool.Up(ctx, m.cfg, []string{text})
		})
		if err != nil {
			m.note(err)
		}
		rows, seeErr := m.rows(ctx)
		return nextRun(took, ended, err, rows), seeErr
	}
}

func nextRun(took time.Duration, ended bool, err error, rows string) cell {
	switch {
	case !ended:
		return cell{fmt.Sprintf("no end in %.0f s, rows %s", took.Seconds(), rows), unclear}
	case err == nil && rows == "{1,2,3}":
		return cell{"completes " + after(took), right}
	case err == nil:
		return cell{"reports success, rows " + rows, wrong}
	case strings.Contains(err.Error(), "resolve"), strings.Contains(strings.ToLower(err.Error()), "force version"):
		return cell{"refuses " + after(took) + ", says what to do, rows " + rows, told}
	default:
		return cell{"fails, does not say what to do, rows " + rows, unclear}
	}
}

// rows returns the rows that the migrations wrote, after all their sessions have ended.
func (m *migrationScene) rows(ctx context.Context) (rows string, err error) {
	for others := true; others && err == nil; {
		time.Sleep(20 * time.Millisecond)
		err = m.admin.QueryRow(ctx,
			"select exists (select from pg_stat_activity where datname = current_database() and pid <> "+
				"pg_backend_pid() and backend_type = 'client backend')").Scan(&others)
	}
	if err == nil {
		err = m.admin.QueryRow(ctx, "select coalesce(array_agg(n order by n), '{}')::text from applied").Scan(&rows)
	}
	return rows, err
}

func edited(ctx context.Context, m *migrationScene) (cell, error) {
	if err := m.tool.Up(ctx, m.cfg, []string{"create table pages (id int)"}); err != nil {
		return cell{}, err
	}
	err := m.tool.Up(ctx, m.cfg, []string{"create table pages (id bigint)", "select 1"})
	if err == nil {
		return cell{"not noticed", wrong}, nil
	}
	m.note(err)
	if strings.Contains(err.Error(), "001_m.sql") {
		return cell{"an error that names the file", right}, nil
	}
	return cell{"an error", unclear}, nil
}

// These variables make this program run as a migrating process.
const (
	childTool = "BENCH_MIGRATING_TOOL"
	childURL  = "BENCH_MIGRATING_URL"
	childText = "BENCH_MIGRATING_TEXT"
)

func migrateAsChild(ctx context.Context) error {
	cfg, err := harness.ConnConfig(os.Getenv(childURL))
	if err != nil {
		return err
	}
	t, err := toolNamed(os.Getenv(childTool))
	if err != nil {
		return err
	}
	return t.Up(ctx, cfg, []string{os.Getenv(childText)})
}
