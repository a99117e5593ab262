package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var migrators = []tool{
	{"pgmigrate", pgmigrateUp},
	{"tern", ternUp},
	{"goose", gooseUp},
	{"golang-migrate", golangMigrateUp},
}

// withoutTransaction is what a migration begins with that is to run so.
const withoutTransaction = "-- without a transaction, as create index concurrently needs\n"

// threeStatements leave the rows 1, 2 and 3 in applied. The third takes long, if hold does.
const threeStatements = "insert into applied values (1);\ninsert into applied values (2);\ninsert into applied " +
	"values (hold())"

type migrationFault struct {
	name string
	see  func(ctx context.Context, m *migrationScene) (cell, error)
}

var migrationFaults = []migrationFault{
	{"kill -9 in the third statement of a migration; the next run", killed(threeStatements)},
	{"the same, without a transaction", killed(withoutTransaction + threeStatements)},
	{
		"the same, with statements that fail if they run again",
		killed(withoutTransaction + "create table pages (id int);\n" + threeStatements),
	},
	{"a file was edited after it was applied", edited},
}

// migrationScene is an empty database that a tool migrates, with a table named applied.
type migrationScene struct {
	tool  tool
	url   string
	cfg   *pgx.ConnConfig
	admin *pgx.Conn
	hold  time.Duration
	limit time.Duration
	note  func(string) // an error's text, to go below the table
}

// migrationFaults adds the plays to p; the table is filled in when they are over.
// someone is who ran a migration, and when: of no interest in a table.
var someone = regexp.MustCompile(`begun by \S+ \(\S+\) at \S+`)

func (s *stage) migrationFaults(ctx context.Context, p *plays, admin *pgxpool.Pool) *faultTable {
	table := &faultTable{title: "Faults of a migration", ours: 1}
	var mu sync.Mutex
	for i, f := range migrationFaults {
		table.rows = append(table.rows, faultRow{f.name, make([]cell, len(migrators))})
		for j, t := range migrators {
			if i == 0 {
				table.sides = append(table.sides, t.name)
			}
			p.add(i < len(migrationFaults)-1, func() error {
				m := &migrationScene{tool: t, hold: s.hold, limit: s.limit, note: func(text string) {
					mu.Lock()
					defer mu.Unlock()
					text = someone.ReplaceAllString(text, "begun by user@host (role) at …")
					if text = t.name + ": " + text; !slices.Contains(table.notes, text) {
						table.notes = append(table.notes, text)
					}
				}}
				c, err := m.play(ctx, s, admin, f)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", f.name, t.name, err)
				}
				table.rows[i].cells[j] = c
				return nil
			})
		}
	}
	return table
}

func (m *migrationScene) play(
	ctx context.Context, s *stage, admin *pgxpool.Pool, f migrationFault,
) (_ cell, err error) {
	name := fmt.Sprintf("migrated_%d", s.scenes.Add(1))
	if _, err := admin.Exec(ctx, "create database "+name); err != nil {
		return cell{}, err
	}
	if m.cfg, err = pgx.ParseConfig(s.server.url); err != nil {
		return cell{}, unparsable(err)
	}
	m.url = fmt.Sprintf("postgres://%s@/%s?host=%s&port=%d", m.cfg.User, name, m.cfg.Host, m.cfg.Port)
	if m.cfg, err = pgx.ParseConfig(m.url); err != nil {
		return cell{}, unparsable(err)
	}
	if m.admin, err = pgx.ConnectConfig(ctx, m.cfg); err != nil {
		return cell{}, err
	}
	defer m.admin.Close(context.WithoutCancel(ctx))
	if _, err := m.admin.Exec(ctx, "create table applied (n int); "+holdFor(m.hold)); err != nil {
		return cell{}, err
	}
	return f.see(ctx, m)
}

// holdFor makes hold, a function that returns 3 after d.
func holdFor(d time.Duration) string {
	return fmt.Sprintf("create or replace function hold() returns int language plpgsql as 'begin perform "+
		"pg_sleep(%f); return 3; end'", d.Seconds())
}

// killed kills a process of the tool's, and looks what a next run makes of it.
func killed(migration string) func(context.Context, *migrationScene) (cell, error) {
	return func(ctx context.Context, m *migrationScene) (cell, error) {
		if err := m.killInHold(ctx, migration); err != nil {
			return cell{}, err
		}
		if _, err := m.admin.Exec(ctx, holdFor(0)); err != nil {
			return cell{}, err
		}
		took, ended, err := endless(ctx, m.limit, func(ctx context.Context) error {
			return m.tool.up(ctx, m.cfg, []string{migration})
		})
		if err != nil {
			m.note(firstLine(err))
		}
		rows, seeErr := m.rows(ctx)
		if seeErr != nil {
			return cell{}, seeErr
		}
		return nextRun(took, ended, err, rows), nil
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
	case saysWayOut(err):
		return cell{"refuses " + after(took) + ", says what to do, rows " + rows, told}
	default:
		return cell{"fails, does not say what to do, rows " + rows, unclear}
	}
}

// saysWayOut is what the tools call it.
func saysWayOut(err error) bool {
	return strings.Contains(err.Error(), "resolve") || strings.Contains(strings.ToLower(err.Error()), "force version")
}

func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// rows is what the migrations have left when all their sessions have ended, those of killed
// processes too.
func (m *migrationScene) rows(ctx context.Context) (rows string, err error) {
	for others := true; others && err == nil; {
		time.Sleep(20 * time.Millisecond)
		err = m.admin.QueryRow(ctx,
			"select exists (select from pg_stat_activity where datname = current_database() and pid <> "+
				"pg_backend_pid() and backend_type = 'client backend')").Scan(&others)
	}
	if err != nil {
		return "", err
	}
	err = m.admin.QueryRow(ctx, "select coalesce(array_agg(n order by n), '{}')::text from applied").Scan(&rows)
	return rows, err
}

func edited(ctx context.Context, m *migrationScene) (cell, error) {
	if err := m.tool.up(ctx, m.cfg, []string{"create table pages (id int)"}); err != nil {
		return cell{}, err
	}
	err := m.tool.up(ctx, m.cfg, []string{"create table pages (id bigint)", "select 1"})
	if err == nil {
		return cell{"not noticed", wrong}, nil
	}
	m.note(firstLine(err))
	if strings.Contains(err.Error(), "001_m.sql") {
		return cell{"an error that names the file", right}, nil
	}
	return cell{"an error", unclear}, nil
}

// The variables make this program a process that migrates.
const (
	migratingProcess = "BENCH_MIGRATING_PROCESS"
	migratingURL     = "BENCH_MIGRATING_URL"
	migratingText    = "BENCH_MIGRATING_TEXT"
)

// migrateAsProcess is what killInHold kills.
func migrateAsProcess(ctx context.Context) error {
	cfg, err := pgx.ParseConfig(os.Getenv(migratingURL))
	if err != nil {
		return unparsable(err)
	}
	for _, t := range migrators {
		if t.name == os.Getenv(migratingProcess) {
			return t.up(ctx, cfg, []string{os.Getenv(migratingText)})
		}
	}
	return errors.New("no such tool")
}

func (m *migrationScene) killInHold(ctx context.Context, migration string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{"faults"}
	if strings.HasSuffix(self, ".test") {
		args = []string{"-test.run=^TestMigratingProcess$"}
	}
	var output strings.Builder
	cmd := exec.CommandContext(ctx, self, args...) // this program
	cmd.Env = append(os.Environ(), migratingProcess+"="+m.tool.name, migratingURL+"="+m.url,
		migratingText+"="+migration)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	deadline := time.After(time.Minute)
	for holds := false; !holds; {
		select {
		case err := <-ended:
			return fmt.Errorf("the process that migrates has ended: %w: %s", err, output.String())
		case <-deadline:
			err = errors.New("the migration has not come to its third statement")
		case <-time.After(20 * time.Millisecond):
			err = m.admin.QueryRow(ctx,
				"select exists (select from pg_stat_activity where datname = current_database() and wait_event = "+
					"'PgSleep')").Scan(&holds)
		}
		if err != nil {
			return errors.Join(err, cmd.Process.Kill(), <-ended)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		return err
	}
	if err := <-ended; err == nil {
		return errors.New("the process that migrates had ended before it was killed")
	}
	return nil
}
