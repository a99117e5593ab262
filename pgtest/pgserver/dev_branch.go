package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Branch is a copy of the development database that [Dev.Switch] exchanges for the present one.
type Branch struct {
	Name    string
	Current bool // has the database's name
}

// The current branch has the database's name, the others have their own behind an @. So a switch
// renames two databases in one transaction, and no URL changes. A setting of the database names the
// current branch.
const branchSetting = "pgserver.branch"

// Branch copies the development database to a new branch, which does not become the current one.
// Sessions of the database end, and new ones wait for the copy. The name defaults to the git branch
// of the working directory.
func (d Dev) Branch(ctx context.Context, name string) (string, error) {
	return d.onBranches(ctx, "branch", name, func(ctx context.Context, conn *pgx.Conn, b *branches, name string) error {
		if slices.Contains(b.all(), name) {
			return fmt.Errorf("there is a branch %s already", name)
		}
		return b.copy(ctx, conn, name)
	})
}

// Switch makes another branch the current one: it gets the database's name. Sessions of both
// databases end. The name defaults to the git branch of the working directory.
func (d Dev) Switch(ctx context.Context, name string) (string, error) {
	return d.onBranches(ctx, "switch", name, func(ctx context.Context, conn *pgx.Conn, b *branches, name string) error {
		switch {
		case name == b.current:
			return nil
		case !slices.Contains(b.others, name):
			return fmt.Errorf("there is no branch %s, only %s; make it with: pgserver branch %[1]s", name,
				strings.Join(b.all(), ", "))
		}
		return b.exchange(ctx, conn, name)
	})
}

// RemoveBranch drops a branch that is not the current one.
func (d Dev) RemoveBranch(ctx context.Context, name string) error {
	_, err := d.onBranches(ctx, "remove branch", name, func(
		ctx context.Context, conn *pgx.Conn, b *branches, name string,
	) error {
		if !slices.Contains(b.others, name) {
			return fmt.Errorf("%s is not among the branches that can go: %s", name, strings.Join(b.others, ", "))
		}
		_, err := conn.Exec(ctx, "drop database "+quote(b.databaseOf(name))+" with (force)")
		return err
	})
	return err
}

// Branches lists the branches of the development database.
func (d Dev) Branches(ctx context.Context) (list []Branch, err error) {
	_, err = d.onBranches(ctx, "branches", "any", func(_ context.Context, _ *pgx.Conn, b *branches, _ string) error {
		list = append(list, Branch{b.current, true})
		for _, name := range b.others {
			list = append(list, Branch{Name: name})
		}
		return nil
	})
	return list, err
}

// onBranches runs fn on the running server, and returns the branch's name.
func (d Dev) onBranches(ctx context.Context, verb, name string,
	fn func(context.Context, *pgx.Conn, *branches, string) error,
) (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("pgserver: %s: %w", verb, err) }
	s, err := d.resolve()
	if err != nil {
		return fail(err)
	}
	if name == "" {
		if name, err = gitBranch(ctx); err != nil {
			return fail(err)
		}
	}
	b := &branches{database: s.Database}
	if n := len(b.databaseOf(name) + copying); n > 63 || strings.Contains(name, "~") {
		return fail(fmt.Errorf("the branch %q has a ~, or makes a database name of more than 63 bytes", name))
	}
	if s.Database == "postgres" {
		return fail(errors.New("the database postgres has no branches: sessions of the server's own use it"))
	}
	lock, err := s.lock(ctx, nil)
	if errors.Is(err, os.ErrNotExist) {
		err = ErrNotRunning
	}
	if err != nil {
		return fail(err)
	}
	defer lock.Close()
	port, _, err := s.listening()
	if err != nil {
		return fail(err)
	}
	err = s.admin(ctx, port, copyLimit, func(ctx context.Context, conn *pgx.Conn) error {
		if err := b.read(ctx, conn); err != nil {
			return err
		}
		return fn(ctx, conn, b, name)
	})
	if err != nil {
		return fail(err)
	}
	return name, nil
}

// branches are the branches of one development database.
type branches struct {
	database string
	current  string
	others   []string
}

func (b *branches) all() []string { return append([]string{b.current}, b.others...) }

func (b *branches) databaseOf(name string) string { return b.database + "@" + name }

// copying is the end of the name of a database that is not complete. No git branch has a ~.
const copying = "~"

func (b *branches) read(ctx context.Context, conn *pgx.Conn) error {
	err := conn.QueryRow(ctx, `select coalesce((select substr(c, length($2) + 2)
			from pg_db_role_setting s, unnest(s.setconfig) c
			where s.setdatabase = d.oid and s.setrole = 0 and starts_with(c, $2 || '=')), '')
		from pg_database d where datname = $1`, b.database, branchSetting).Scan(&b.current)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("there is no database %s: pgserver start makes it", b.database)
	}
	if err != nil {
		return err
	}
	rows, err := conn.Query(ctx, `select substr(datname, length($1) + 1) from pg_database
		where starts_with(datname, $1) and right(datname, 1) <> $2 order by datname`, b.database+"@", copying)
	if err != nil {
		return err
	}
	b.others, err = pgx.CollectRows(rows, pgx.RowTo[string])
	if b.current == "" {
		b.current = firstBranch(ctx)
	}
	for slices.Contains(b.others, b.current) { // the setting was reset
		b.current += "-1"
	}
	return err
}

// copy makes the branch under another name first: CREATE DATABASE copies not all, and this process
// may be killed before the rest.
func (b *branches) copy(ctx context.Context, conn *pgx.Conn, name string) error {
	whole := b.databaseOf(name)
	partial := whole + copying
	rows, err := conn.Query(ctx, `select format('drop database %I with (force)', datname) from pg_database
		where starts_with(datname, $1) and right(datname, 1) = $2`, b.database+"@", copying)
	if err != nil {
		return err
	}
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, drop := range left {
		if _, err := conn.Exec(ctx, drop); err != nil {
			return err
		}
	}
	var (
		version int
		owner   string
	)
	if err := conn.QueryRow(ctx, `select current_setting('server_version_num')::int, pg_get_userbyid(datdba)::text
		from pg_database where datname = $1`, b.database).Scan(&version, &owner); err != nil {
		return err
	}
	create := "create database " + quote(partial) + " template " + quote(b.database) + " owner " + quote(owner)
	if version >= 150000 {
		create += " strategy file_copy"
	}
	clone := version >= 180000
	if clone { // where the file system can, and the server was built for it
		_, err := conn.Exec(ctx, "set file_copy_method = clone")
		clone = err == nil
	}
	err = alone(ctx, conn, []string{b.database}, create)
	if err != nil && clone && !inUse(err) {
		if _, err := conn.Exec(ctx, "set file_copy_method = copy"); err != nil {
			return err
		}
		err = alone(ctx, conn, []string{b.database}, create)
	}
	if err != nil {
		return err
	}
	statements, err := ReadAttributes(ctx, conn, b.database, partial)
	if err != nil {
		return err
	}
	statements = append(statements, resetBranch(partial), setBranch(b.database, b.current),
		"alter database "+quote(partial)+" rename to "+quote(whole))
	return inTransaction(ctx, conn, statements...)
}

func (b *branches) exchange(ctx context.Context, conn *pgx.Conn, name string) error {
	old, chosen := b.databaseOf(b.current), b.databaseOf(name)
	return alone(ctx, conn, []string{b.database, chosen},
		"alter database "+quote(b.database)+" rename to "+quote(old), resetBranch(old),
		"alter database "+quote(chosen)+" rename to "+quote(b.database), setBranch(b.database, name))
}

// alone runs statements that want no session on the databases, and ends those that there are. A
// client may come back faster; while the statements run it waits.
func alone(ctx context.Context, conn *pgx.Conn, databases []string, statements ...string) (err error) {
	for range 3 {
		const end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = any($1)"
		if _, err := conn.Exec(ctx, end, databases); err != nil {
			return err
		}
		if len(statements) == 1 { // CREATE DATABASE runs in no transaction
			_, err = conn.Exec(ctx, statements[0])
		} else {
			err = inTransaction(ctx, conn, statements...)
		}
		if !inUse(err) {
			return err
		}
	}
	return fmt.Errorf("%w\nstop the programs that use it, and end prepared transactions", err)
}

func inTransaction(ctx context.Context, conn *pgx.Conn, statements ...string) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, sql := range statements {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

func inUse(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "55006"
}

func setBranch(database, name string) string {
	return "alter database " + quote(database) + " set " + branchSetting + " = '" +
		strings.ReplaceAll(name, "'", "''") + "'"
}

func resetBranch(database string) string {
	return "alter database " + quote(database) + " reset " + branchSetting
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// gitBranch returns the branch around the working directory.
func gitBranch(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "symbolic-ref", "--short", "HEAD").Output()
	if err != nil {
		return "", errors.New("no git branch is checked out here: name the branch")
	}
	return strings.TrimSpace(string(out)), nil
}

// firstBranch names the database that was there before the first branch, as git names its own.
func firstBranch(ctx context.Context) string {
	for _, name := range []string{"main", "master"} {
		if exec.CommandContext(ctx, "git", "show-ref", "--verify", "--quiet", "refs/heads/"+name).Run() == nil {
			return name
		}
	}
	return "main"
}
