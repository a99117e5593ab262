package pgtest

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/peterldowns/pgtestdb"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/lease"
)

// template is the database's name. Only a finished template has a name of this form.
func (s *source) template() string { return fmt.Sprintf("pgtest_tpl_%.32s", s.key) }

// prepare finds the template, or has pgtestdb make it, once; the outcome stays.
func (s *source) prepare(ctx context.Context, m pgtestdb.Migrator) error {
	s.once.Do(func() {
		var found bool
		err := s.host.control(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
			if found, err = s.find(ctx, conn); err != nil || !found || !s.host.server.Ephemeral() {
				return err
			}
			s.ready, err = s.host.adopt(ctx, conn, s.key)
			return err
		})
		if err == nil && !found {
			err = s.make(ctx, m)
		}
		s.err = err
	})
	return s.err
}

// find looks for a template that another process made, and reads what CREATE DATABASE will not
// copy.
func (s *source) find(ctx context.Context, conn *pgx.Conn) (found bool, err error) {
	err = conn.QueryRow(ctx, `select exists (select from pg_database d join pg_roles r on r.oid = d.datdba
		where d.datistemplate and d.datname = $1 and r.rolname = $2)`, s.template(), s.roles.owner).Scan(&found)
	if err == nil && found {
		s.attributes, err = pgserver.ReadAttributes(ctx, conn, s.template(), cloneName)
	}
	if err != nil {
		return false, fmt.Errorf("look for the template: %w", err)
	}
	return found, nil
}

// make calls pgtestdb, while other processes that want the same template wait. pgtestdb's first
// copy becomes the first clone.
func (s *source) make(ctx context.Context, m pgtestdb.Migrator) error {
	conn, err := pgx.ConnectConfig(ctx, s.host.session("", nil))
	if err != nil {
		return err
	}
	maker, err := lease.Take(ctx, conn, makersSpace)
	if err != nil {
		return err
	}
	defer maker.Close(context.WithoutCancel(ctx))
	defer announce("the template database: its migrations and seeds run, here or in another process")()
	return maker.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		// The lock ends with the session.
		if _, err := conn.Exec(ctx, "select pg_advisory_lock(hashtextextended($1, 0))", s.template()); err != nil {
			return err
		}
		if found, err := s.find(ctx, conn); err != nil || found {
			return err
		}
		session := func(database, role string) (*pgx.ConnConfig, error) {
			if role == "" {
				return s.host.session(database, nil), nil
			}
			return s.host.session(database, s.roles), nil
		}
		made, instance, err := makeTemplate(m, s.roles.owner, maker.Token(), session)
		if err != nil {
			return err
		}
		first := clone{name: s.host.newName(s.key, false)}
		if err := s.finish(ctx, conn, made, instance, first.name); err != nil {
			return fmt.Errorf("finish the template: %w", err)
		}
		s.ready = append(s.ready, first)
		return nil
	})
}

// finish gives the template and its copy names of ours. Nothing can connect to the template from
// then on, so no test can change it.
func (s *source) finish(ctx context.Context, conn *pgx.Conn, made, instance, name string) (err error) {
	if s.attributes, err = pgserver.ReadAttributes(ctx, conn, made, cloneName); err != nil {
		return err
	}
	statements := []string{"alter database " + quoted(made) + " allow_connections false"}
	statements = append(statements, s.attributesOf(instance)...)
	return execEach(ctx, conn, append(statements,
		renameStatement(instance, name), renameStatement(made, s.template()))...)
}

// cloneName stands for a clone's name in the statements of ReadAttributes.
const cloneName = "name of the clone"

// comment sets the mark on a database.
func comment(name, text string) string {
	return "comment on database " + quoted(name) + " is " + literal(text)
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// adopt takes over clones that other processes made ahead and did not use, at most [ahead], and
// counts the rest.
func (h *host) adopt(ctx context.Context, conn *pgx.Conn, key string) (clones []clone, err error) {
	list, isOrphan, err := h.findObjects(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, o := range list {
		if o.Kind != kindDatabase || !isOrphan(o) {
			continue
		}
		if o.Key == notAdoptable || !strings.HasPrefix(key, o.Key) || o.Used || len(clones) == ahead {
			h.found.Add(1)
			continue
		}
		c := clone{name: h.newName(key, true), adoptable: true}
		err := execEach(ctx, conn, renameStatement(o.Name, c.name))
		switch {
		case err == nil:
			clones = append(clones, c)
		case !isGone(err) && !inUse(err): // another process was faster
			return clones, err
		}
	}
	return clones, nil
}
