package lint

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// session applies migrations to the shadow, statement by statement, as pgmigrate would, and lets each be judged.
type session struct {
	db       *shadow.DB
	conn     *pgx.Conn
	version  int // major, of the server
	observer *observer
}

func newSession(ctx context.Context, db *shadow.DB) (*session, error) {
	cfg := db.Config()
	if cfg.RuntimeParams == nil {
		cfg.RuntimeParams = map[string]string{}
	}
	// What a migration finds under pgmigrate. Startup parameters, because RESET ALL returns to them.
	cfg.RuntimeParams["lock_timeout"] = strconv.FormatInt(pgmigrate.DefaultLockTimeout.Milliseconds(), 10)
	cfg.RuntimeParams["application_name"] = "pgmigrate-dev lint"
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

// file judges a migration and leaves it applied. It returns false if the migration fails, as the last finding says.
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

// section runs one section. Its own transaction is tern's, or, without one, a transaction for each statement that can run in
// one: only there locks are seen.
func (s *session) section(ctx context.Context, mig pgmigrate.Migration, d pgmigrate.Direction, target int) ([]Finding, bool, error) {
	j, err := s.newJudge(ctx, mig, d, target)
	if err != nil {
		return nil, false, err
	}
	s.observer.section()
	r := &sectionRun{session: s, judge: j, transactional: mig.Transactional(d), statements: mig.Statements(d)}
	if err := s.roles(ctx, r.statements); err != nil {
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
	return j.end(), ok, nil
}

func (s *session) exec(ctx context.Context, sql string) error {
	_, err := s.conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

// sectionRun is one section while it runs.
type sectionRun struct {
	*session
	judge         *judge
	transactional bool
	statements    []pgmigrate.Statement
	first         int // statement of the transaction that is open
}

// run returns false if a statement fails.
func (r *sectionRun) run(ctx context.Context) (bool, error) {
	for i, statement := range r.statements {
		r.judge.begin(statement, parse(statement.SQL))
		obs, err := r.statement(ctx, i)
		if err != nil {
			if !isServerError(err) || ctx.Err() != nil {
				return false, err
			}
			r.judge.fails(err)
			return false, nil
		}
		r.judge.judge(obs)
	}
	return true, nil
}

func (r *sectionRun) statement(ctx context.Context, i int) (observation, error) {
	sql := r.statements[i].SQL
	if r.transactional {
		if r.conn.PgConn().TxStatus() == 'I' && r.judge.parsed.kind != "TransactionStmt" { // the file has a COMMIT of its own
			if err := r.open(ctx, i); err != nil {
				return observation{}, err
			}
		}
		return r.inTransaction(ctx, i)
	}
	if r.conn.PgConn().TxStatus() != 'I' || r.judge.parsed.kind == "TransactionStmt" {
		return r.inOwnTransaction(ctx, sql)
	}
	if err := r.open(ctx, i); err != nil {
		return observation{}, err
	}
	switch err := r.exec(ctx, sql); code(err) {
	case "":
		if err != nil {
			return observation{}, err
		}
		obs, err := r.observer.inTransaction(ctx)
		if err != nil {
			return obs, err
		}
		return obs, r.exec(ctx, "commit")
	case activeTransaction, invalidTermination:
		if err := r.exec(ctx, "rollback"); err != nil {
			return observation{}, err
		}
		if err := r.exec(ctx, sql); err != nil {
			return observation{}, err
		}
		return r.observer.outside(ctx)
	default:
		return observation{}, err
	}
}

const (
	activeTransaction  = "25001" // cannot run inside a transaction block
	invalidTermination = "2D000" // COMMIT in a procedure that was called in a transaction
	unsafeEnumValue    = "55P04" // unsafe use of new value of enum type
)

// inTransaction runs a statement in the migration's transaction. What PostgreSQL refuses there is a finding, and is run so that the
// rest can be judged: what came before is committed first.
func (r *sectionRun) inTransaction(ctx context.Context, i int) (observation, error) {
	err := r.exec(ctx, r.statements[i].SQL)
	switch code(err) {
	case "":
		if err != nil {
			return observation{}, err
		}
		if r.conn.PgConn().TxStatus() == 'I' {
			return r.observer.outside(ctx)
		}
		return r.observer.inTransaction(ctx)
	case activeTransaction:
		r.judge.refusedInTransaction()
		if err := r.commitBefore(ctx, i); err != nil {
			return observation{}, err
		}
		if err := r.exec(ctx, r.statements[i].SQL); err != nil {
			return observation{}, err
		}
		obs, err := r.observer.outside(ctx)
		if err != nil {
			return obs, err
		}
		return obs, r.open(ctx, i+1)
	case unsafeEnumValue:
		r.judge.newEnumValue(err)
		if err := r.commitBefore(ctx, i); err != nil {
			return observation{}, err
		}
		if err := r.open(ctx, i); err != nil {
			return observation{}, err
		}
		if err := r.exec(ctx, r.statements[i].SQL); err != nil {
			return observation{}, err
		}
		return r.observer.inTransaction(ctx)
	default:
		return observation{}, err
	}
}

// inOwnTransaction runs a statement of a section that writes its own BEGIN and COMMIT.
func (r *sectionRun) inOwnTransaction(ctx context.Context, sql string) (observation, error) {
	begun := r.conn.PgConn().TxStatus() == 'I'
	if err := r.exec(ctx, sql); err != nil {
		return observation{}, err
	}
	switch {
	case r.conn.PgConn().TxStatus() == 'I':
		return r.observer.outside(ctx)
	case begun:
		return observation{}, r.observer.transaction(ctx)
	default:
		return r.observer.inTransaction(ctx)
	}
}

func (r *sectionRun) open(ctx context.Context, first int) error {
	if err := r.exec(ctx, "begin"); err != nil {
		return err
	}
	r.first = first
	r.judge.transaction()
	return r.observer.transaction(ctx)
}

// commitBefore replaces the failed transaction by one that ends before statement i. Savepoints would be simpler, but in a
// subtransaction PostgreSQL refuses enum values that it accepts at the top level.
func (r *sectionRun) commitBefore(ctx context.Context, i int) error {
	if err := r.exec(ctx, "rollback"); err != nil {
		return err
	}
	if err := r.exec(ctx, "begin"); err != nil {
		return err
	}
	for _, s := range r.statements[r.first:i] {
		if err := r.exec(ctx, s.SQL); err != nil {
			return fmt.Errorf("run line %d again: %w", s.Line, err)
		}
	}
	if err := r.exec(ctx, "commit"); err != nil {
		return err
	}
	// The objects have other OIDs than those of the transaction that failed.
	all, err := readRelations(ctx, r.conn, nil)
	r.observer.relations = all
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
