package lint

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// session applies migrations to the shadow, statement by statement, as pgmigrate would, and lets
// each be judged.
type session struct {
	db        *shadow.DB
	conn      *pgx.Conn
	version   int // major, of the server
	observer  *observer
	backfills *backfills
}

func newSession(ctx context.Context, db *shadow.DB) (*session, error) {
	cfg := db.Config()
	if cfg.RuntimeParams == nil {
		cfg.RuntimeParams = map[string]string{}
	}
	// What a migration finds under pgmigrate. Startup parameters, because RESET ALL returns to
	// them.
	cfg.RuntimeParams["lock_timeout"] = strconv.FormatInt(pgmigrate.DefaultLockTimeout.Milliseconds(), 10)
	cfg.RuntimeParams["application_name"] = "pgmigrate-dev lint"
	cfg.RuntimeParams["jit"] = "off" // compiling costs more than queries of the catalogs take
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s := &session{db: db, conn: conn, version: db.Major()}
	s.observer, err = newObserver(ctx, conn)
	if err != nil {
		s.close(ctx)
		return nil, err
	}
	return s, nil
}

func (s *session) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // nothing depends on it: the shadow is thrown away
	select {
	case <-s.conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}

// file judges a migration and leaves it applied. It returns false if the migration fails, as the
// last finding says.
func (s *session) file(ctx context.Context, mig pgmigrate.Migration, target int, down bool) ([]Finding, bool, error) {
	findings, ok, err := s.section(ctx, mig, pgmigrate.DirectionUp, target)
	if err != nil || !ok || !down || !mig.Reversible() {
		return findings, ok, err
	}
	more, ok, err := s.section(ctx, mig, pgmigrate.DirectionDown, target)
	findings = append(findings, more...)
	if err != nil || !ok {
		return findings, ok, err
	}
	again, ok, err := s.section(ctx, mig, pgmigrate.DirectionUp, target)
	if !ok && len(again) > 0 {
		findings = append(findings, again[len(again)-1]) // it fails after its own down section
	}
	return findings, ok, err
}

// section runs one section. Its own transaction is tern's, or, without one, a transaction for each
// statement that can run in one: only there locks are seen.
func (s *session) section(
	ctx context.Context, mig pgmigrate.Migration, d pgmigrate.Direction, target int,
) ([]Finding, bool, error) {
	j, err := s.newJudge(ctx, mig, d, target)
	if err != nil {
		return nil, false, err
	}
	s.observer.section()
	r := &sectionRun{session: s, judge: j, transactional: mig.Transactional(d), statements: mig.Statements(d)}
	for _, statement := range r.statements {
		r.parsed = append(r.parsed, parse(statement.SQL))
	}
	if err := s.roles(ctx, r.parsed); err != nil {
		return nil, false, err
	}
	start := "begin"
	if !r.transactional {
		start = "set lock_timeout = 0" // as pgmigrate does
	}
	if err := s.exec(ctx, start); err != nil {
		return nil, false, err
	}
	if r.transactional {
		if err := s.observer.transaction(ctx); err != nil {
			return nil, false, err
		}
	}
	ok, err := r.run(ctx)
	if err != nil {
		return nil, false, err
	}
	if s.conn.PgConn().TxStatus() != 'I' {
		end := "commit"
		if !ok {
			end = "rollback"
		}
		if err := s.exec(ctx, end); err != nil {
			if !isServerError(err) {
				return nil, false, err
			}
			j.fails(err) // a deferred constraint
			ok = false
		}
	}
	if err := s.exec(ctx, "reset all"); err != nil {
		return nil, false, err
	}
	if j.objectsNow, err = readObjects(ctx, s.conn); err != nil {
		return nil, false, err
	}
	if ok {
		if err := j.triggersLeft(ctx, s.conn); err != nil {
			return nil, false, err
		}
	}
	j.missingBackfills()
	return j.end(), ok, nil
}

func (s *session) exec(ctx context.Context, sql string) error {
	_, err := s.conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

func code(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

// isServerError reports whether the server refused the statement, and the connection can go on.
func isServerError(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && !strings.HasPrefix(pgErr.Code, "57P") && pgErr.Severity != "FATAL"
}
