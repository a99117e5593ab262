package pgtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/peterldowns/pgtestdb"
)

// prepare finds the template, or has pgtestdb make it, once; the result stays, as pgtestdb's does.
func (s *source) prepare(ctx context.Context, conf pgtestdb.Config, m pgtestdb.Migrator) error {
	s.once.Do(func() {
		s.conf = conf
		s.conf.User, s.conf.Password = conf.TestRole.Username, conf.TestRole.Password
		if s.err = s.find(ctx); s.err != nil || s.template != "" {
			return
		}
		s.err = s.make(ctx, conf, m)
	})
	return s.err
}

// find looks for a template that an earlier process marked, and for clones that a process left
// unused when it ended.
func (s *source) find(ctx context.Context) error {
	return s.host.control(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		err := conn.QueryRow(ctx, `select d.datname from pg_database d where d.datistemplate
			and shobj_description(d.oid, 'pg_database') = $1`, s.templateMark()).Scan(&s.template)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for the template: %w", err)
		}
		if s.host.server.Ephemeral() { // elsewhere nothing is made ahead
			s.ready, err = s.host.adopt(ctx, conn, s.key)
		}
		return err
	})
}

// make calls pgtestdb. Its instance becomes the first clone.
func (s *source) make(ctx context.Context, conf pgtestdb.Config, m pgtestdb.Migrator) error {
	lock := func(function string) error {
		return s.host.control(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "select "+function+"($1)", lockKey(making))
			return err
		})
	}
	if err := s.makeRole(ctx, conf.TestRole); err != nil {
		return fmt.Errorf("make the role %s: %w", conf.TestRole.Username, err)
	}
	if err := lock("pg_advisory_lock_shared"); err != nil {
		return err
	}
	instance, err := custom(conf, m)
	if err == nil {
		err = s.name(ctx, instance)
	}
	return errors.Join(err, lock("pg_advisory_unlock_shared"))
}

// makeRole spares pgtestdb that: a process that is killed between its two statements leaves a role
// that cannot log in, for good. The mark comes with the role, so one without it is half made, or an
// older pgtest's.
func (s *source) makeRole(ctx context.Context, role *pgtestdb.Role) error {
	return s.host.control(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			// Two processes that do the same would fail with "tuple concurrently updated".
			if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", lockKey(role.Username)); err != nil {
				return err
			}
			var exists, marked bool
			mark := roleMark + s.host.lockedIn
			err := tx.QueryRow(ctx,
				`select count(*) > 0, coalesce(bool_or(shobj_description(oid, 'pg_authid') = $2), false)
				from pg_roles where rolname = $1`, role.Username, mark).Scan(&exists, &marked)
			if err != nil || marked {
				return err
			}
			verb := "create"
			if exists {
				verb = "alter"
			}
			_, err = tx.Conn().PgConn().Exec(ctx,
				fmt.Sprintf("%s role %s with login password %s %s; comment on role %[2]s is %[5]s", verb,
					quoted(role.Username), literal(role.Password), role.Capabilities, literal(mark))).ReadAll()
			return err
		})
	})
}

// name gives the template its mark and the instance a name of ours.
func (s *source) name(ctx context.Context, instance *pgtestdb.Config) error {
	s.template, _, _ = strings.Cut(instance.Database, "_inst_")
	name := s.host.newName(s.key, false)
	return s.host.control(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		for _, sql := range []string{
			comment(s.template, s.templateMark()),
			"alter database " + quoted(instance.Database) + " rename to " + quoted(name),
		} {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return fmt.Errorf("mark the template: %w", err)
			}
		}
		s.ready = append(s.ready, clone{name: name})
		return nil
	})
}

func (s *source) templateMark() string { return "pgtest template " + s.key }

// usedMark is on what another process must not adopt.
const usedMark = "pgtest used"

// comment sets the mark on a database.
func comment(name, text string) string {
	return "comment on database " + quoted(name) + " is " + literal(text)
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// custom is pgtestdb.Custom outside a test: the template outlives the test that happens to be the
// first, and pgtestdb must neither log the connection string, which holds a password, nor drop the
// instance.
func custom(conf pgtestdb.Config, m pgtestdb.Migrator) (instance *pgtestdb.Config, err error) {
	done := make(chan struct{})
	outcome := &firstTest{}
	go func() { // of its own: Fatalf ends it
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				outcome.err = fmt.Errorf("the migrator panicked: %v", p)
			}
		}()
		instance = pgtestdb.Custom(outcome, conf, m)
	}()
	<-done
	if outcome.err != nil {
		return nil, outcome.err
	}
	return instance, nil
}

// firstTest is what pgtestdb takes for a test.
type firstTest struct{ err error }

func (*firstTest) Helper()             {}
func (*firstTest) Cleanup(func())      {}
func (*firstTest) Failed() bool        { return false }
func (*firstTest) Logf(string, ...any) {}
func (f *firstTest) Fatalf(format string, args ...any) {
	f.err = fmt.Errorf(format, args...)
	runtime.Goexit()
}
