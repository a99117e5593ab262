package lint

import (
	"context"
	"fmt"

	"github.com/page-builder/persistence/pgmigrate"
)

// sectionRun is one section while it runs.
type sectionRun struct {
	*session
	judge         *judge
	transactional bool
	statements    []pgmigrate.Statement
	parsed        []parsed
	first         int // statement of the transaction that is open
}

// run returns false if a statement fails.
func (r *sectionRun) run(ctx context.Context) (bool, error) {
	for i, statement := range r.statements {
		p, err := r.withCalls(ctx, r.parsed[i])
		if err != nil {
			return false, err
		}
		r.judge.begin(statement, p)
		obs, err := r.statement(ctx, i)
		if err != nil {
			if !isServerError(err) || ctx.Err() != nil {
				return false, err
			}
			r.judge.fails(err)
			return false, nil
		}
		r.judge.objectsNow = nil
		if p.mayChangeObjects() {
			if r.judge.objectsNow, err = readObjects(ctx, r.conn); err != nil {
				return false, err
			}
		}
		r.judge.judge(obs)
	}
	return true, nil
}

func (r *sectionRun) statement(ctx context.Context, i int) (observation, error) {
	sql := r.statements[i].SQL
	if r.judge.parsed.clusterWide() {
		if r.transactional || r.conn.PgConn().TxStatus() != 'I' {
			r.judge.refusedInTransaction()
		}
		return observation{}, nil
	}
	if r.transactional {
		// The file contains COMMIT.
		if r.conn.PgConn().TxStatus() == 'I' && r.judge.parsed.kind != "TransactionStmt" {
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
		obs, err := r.observer.inTransaction(ctx, r.rollsBack())
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
		return r.observer.outside(ctx, r.rollsBack())
	default:
		return observation{}, err
	}
}

// clusterWide reports whether the statement reaches beyond its database. It is judged without being
// run: the server may be one that the user named, with databases of others on it.
func (p parsed) clusterWide() bool {
	switch p.kind {
	case "AlterSystemStmt", "CreatedbStmt", "DropdbStmt", "CreateTableSpaceStmt", "DropTableSpaceStmt":
		return true
	default:
		return false
	}
}

// rollsBack reports whether the statement may take back what statements before it did.
func (r *sectionRun) rollsBack() bool { return r.judge.parsed.kind == "TransactionStmt" }

const (
	activeTransaction  = "25001" // cannot run inside a transaction block
	invalidTermination = "2D000" // COMMIT in a procedure that was called in a transaction
	unsafeEnumValue    = "55P04" // unsafe use of new value of enum type
)

// inTransaction runs a statement in the migration's transaction. What PostgreSQL refuses there is a
// finding, and is run so that the rest can be judged: what came before is committed first.
func (r *sectionRun) inTransaction(ctx context.Context, i int) (observation, error) {
	err := r.exec(ctx, r.statements[i].SQL)
	switch code(err) {
	case "":
		if err != nil {
			return observation{}, err
		}
		if r.conn.PgConn().TxStatus() == 'I' {
			return r.observer.outside(ctx, r.rollsBack())
		}
		return r.observer.inTransaction(ctx, r.rollsBack())
	case activeTransaction:
		r.judge.refusedInTransaction()
		if err := r.commitBefore(ctx, i); err != nil {
			return observation{}, err
		}
		if err := r.exec(ctx, r.statements[i].SQL); err != nil {
			return observation{}, err
		}
		obs, err := r.observer.outside(ctx, r.rollsBack())
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
		return r.observer.inTransaction(ctx, r.rollsBack())
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
		return r.observer.outside(ctx, r.rollsBack())
	case begun:
		return observation{}, r.observer.transaction(ctx)
	default:
		return r.observer.inTransaction(ctx, r.rollsBack())
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

// commitBefore replaces the failed transaction by one that ends before statement i. Savepoints
// would be simpler, but in a subtransaction PostgreSQL refuses enum values that it accepts at the
// top level.
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
	// The objects have other OIDs than in the failed transaction.
	all, err := readRelations(ctx, r.conn, nil)
	r.observer.relations = all
	return err
}
