package chaos

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgmigrate"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

const (
	migrationSteps = 5
	// completeLimit limits how long the migration may take after the fault.
	completeLimit = 2 * time.Minute
)

// migration starts before the fault and is completed after it.
type migration struct {
	migrator *pgmigrate.Migrator
	schema   string
	done     chan error // of the run that met the fault
}

func newMigration(cfg pgconfig.Config, schema string) (*migration, error) {
	direct, err := cfg.DirectConfig()
	if err != nil {
		return nil, err
	}
	folder, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	direct.RuntimeParams["search_path"] = schema
	migrator, err := pgmigrate.New(direct, folder, pgmigrate.WithLogger(nil),
		pgmigrate.WithVersionTable(schema+".schema_version"), pgmigrate.WithHistorySchema(schema))
	return &migration{migrator: migrator, schema: schema, done: make(chan error, 1)}, err
}

func (m *migration) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, completeLimit)
	defer cancel()
	_, err := m.migrator.Up(ctx)
	m.done <- err
}

// complete waits for the first run. If that failed, it runs the migration again until it succeeds,
// as an operator would. It returns the number of runs and the error of the first one.
func (m *migration) complete(ctx context.Context) (runs int, first, err error) {
	ctx, cancel := context.WithTimeout(ctx, completeLimit)
	defer cancel()
	select {
	case first = <-m.done:
	case <-ctx.Done():
		return 1, nil, errors.New("it does not end")
	}
	err = first
	for runs = 1; err != nil && ctx.Err() == nil; runs++ {
		sleep(ctx, 500*time.Millisecond)
		_, err = m.migrator.Up(ctx)
	}
	return runs, first, err
}

// check looks for steps that were applied partly or twice.
func (m *migration) check(ctx context.Context, conn *pgx.Conn) error {
	name := func(table string) string { return pgx.Identifier{m.schema, table}.Sanitize() }
	var marks, distinct int
	if err := conn.QueryRow(ctx, `select count(*), count(distinct (step, half)) from `+name("marks")).Scan(&marks,
		&distinct); err != nil {
		return err
	}
	if marks != 2*migrationSteps || distinct != marks {
		return fmt.Errorf("%d marks, %d of them different, want %d", marks, distinct, 2*migrationSteps)
	}
	for step := 1; step <= migrationSteps; step++ {
		var rows int
		if err := conn.QueryRow(ctx,
			`select count(*) from `+name(fmt.Sprintf("step_%d", step))).Scan(&rows); err != nil {
			return err
		}
		if rows != 1000 {
			return fmt.Errorf("step %d has %d rows", step, rows)
		}
	}
	var valid bool
	err := conn.QueryRow(ctx, `select bool_and(indisvalid) and count(*) = 1 from pg_index
		where indexrelid::regclass::text like '%step_1_note%'
		and indrelid = $1::regclass`, name("step_1")).Scan(&valid)
	if err == nil && !valid {
		err = errors.New("the index is not there, or not valid")
	}
	return err
}
