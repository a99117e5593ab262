package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/backfill"
	"github.com/page-builder/persistence/pgmigrate/internal/expand"
)

// newExpand writes the files of an expand, a backfill and a contract.
func (a *app) newExpand(ctx context.Context, dir string, opts expand.Options) error {
	m, conn, err := a.migrator()
	if err != nil {
		return err
	}
	status, err := m.Status(ctx)
	if err != nil {
		return err
	}
	if int(status.Version) != len(m.Migrations()) {
		return usageError{fmt.Errorf("new: the database is at version %d of %d: the files are made from its tables, "+
			"so migrate it first", status.Version, len(m.Migrations()))}
	}
	c, err := pgx.ConnectConfig(ctx, conn)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	change, err := expand.Plan(ctx, c, opts)
	if err != nil {
		return usageError{fmt.Errorf("new: %w", err)}
	}
	backfills := a.backfillDir(dir)
	if err := checkBackfill(change); err != nil {
		return err
	}
	var files []newFile
	for _, migration := range change.Migrations {
		files = append(files, newFile{name: change.Name + migration.Suffix, text: migration.Text})
	}
	files = append(files,
		newFile{path: filepath.Join(backfills, change.Name+".sql"), text: change.Backfill},
		newFile{path: contractPath(backfills, change.Name), text: change.Contract})
	if err := a.writeNew(dir, files...); err != nil {
		return err
	}
	for _, note := range change.Notes {
		fmt.Fprintf(a.stderr, "note: %s\n", note)
	}
	fmt.Fprintf(a.stderr, "read the files; when nothing uses the old column any more: pgmigrate new --contract %s\n",
		change.Name)
	return nil
}

// checkBackfill finds names that the header of a backfill cannot hold.
func checkBackfill(change *expand.Change) error {
	temp, err := os.MkdirTemp("", "pgmigrate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := os.WriteFile(filepath.Join(temp, change.Name+".sql"), []byte(change.Backfill), 0o600); err != nil {
		return err
	}
	if _, err := backfill.Check(os.DirFS(temp)); err != nil {
		return usageError{fmt.Errorf("new: the names do not fit into a backfill: %w", err)}
	}
	return nil
}

func (a *app) backfillDir(migrations string) string {
	if a.backfills.dir != "" {
		return a.backfills.dir
	}
	return filepath.Join(filepath.Dir(filepath.Clean(migrations)), "backfills")
}

// contractPath is where a contract waits: in a folder that neither migrations nor backfills are
// read from.
func contractPath(backfills, name string) string {
	return filepath.Join(backfills, "contract", name+".sql")
}

// newContract moves a contract to the migrations.
func (a *app) newContract(dir, name string) error {
	path := contractPath(a.backfillDir(dir), name)
	text, err := os.ReadFile(path)
	if err != nil {
		return usageError{fmt.Errorf("new: no contract waits under that name: %w", err)}
	}
	if err := a.writeNew(dir, newFile{name: name + "_contract", text: string(text)}); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("new: %w", err)
	}
	return nil
}
