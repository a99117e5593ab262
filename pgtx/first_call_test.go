package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// firstCalls are the ways in which a transaction can begin, each described by what the function
// sees of it. The same program runs over pgx's own transaction and over ours.
var firstCalls = []struct {
	name string
	call func(ctx context.Context, tx pgx.Tx) string
}{
	{"Exec with arguments", exec(move, 1, 5)},
	{"Exec without arguments", exec(`update accounts set balance = balance + 5`)},
	{"Exec of several statements", exec(`update accounts set balance = 7 where id = 1; delete from accounts where id = 2`)},
	{"Exec of several with arguments", exec(`select 1; select $1::int`, 1)},
	{"Exec of a comment", exec(`-- nothing`)},
	{"Exec of nothing", exec(``)},
	{"Exec of a line comment at the end", exec(`update accounts set balance = 3 -- all`)},
	{"Exec that returns rows", exec(`select id from accounts where id > $1`, 0)},
	{"Exec, named arguments", exec(`update accounts set balance = @b where id = @id`, pgx.NamedArgs{"b": 4, "id": 1})},
	{"Exec, several statements, empty named arguments", exec(`delete from accounts; select 1`, pgx.NamedArgs{})},
	{"Exec, strict arguments missing", exec(`delete from accounts where id = @id`, pgx.StrictNamedArgs{})},
	{"Exec, mode as argument", exec(move, pgx.QueryExecModeExec, 1, 5)},
	{"Exec, syntax error", exec(`delete frm accounts`)},
	{"Exec, syntax error with arguments", exec(`delete frm accounts where id = $1`, 1)},
	{"Exec, syntax error after a statement", exec(`delete from accounts; delete frm accounts`)},
	{"Exec, missing table", exec(`delete from missing`)},
	{"Exec, missing table with arguments", exec(`delete from missing where id = $1`, 1)},
	{"Exec, fails while running", exec(`select 1/(id - $1) from accounts`, 1)},
	{"Exec, fails after a statement", exec(`delete from accounts; select 1/0`)},
	{"Exec, duplicate", exec(`insert into accounts values ($1, $2)`, 1, 1)},
	{"Exec, cannot be encoded", exec(`select $1::int`, make(chan int))},
	{"Exec, wrong number of arguments", exec(`select $1::int`, 1, 2)},
	{"Exec, ended by COMMIT", exec(`commit`)},
	{"Exec, isolation level", exec(`set transaction isolation level serializable`)},

	{"Query with arguments", query(`select id, balance from accounts where id < $1 order by id`, 5)},
	{"Query without arguments", query(`select id, balance from accounts order by id`)},
	{"Query without rows", query(`select id, balance from accounts where false`)},
	{"Query, returning", query(`update accounts set balance = 1 where id = $1 returning id, balance`, 2)},
	{"Query, result formats", query(`select id, balance from accounts order by id`, pgx.QueryResultFormats{0, 0})},
	{"Query, named arguments", query(`select id, balance from accounts where id = @id`, pgx.NamedArgs{"id": 1})},
	{"Query, missing table", query(`select id, balance from missing where id = $1`, 1)},
	{"Query, syntax error", query(`select id, balance frm accounts`)},
	{"Query, fails at a later row", query(`select id, 1/(2 - id) from accounts order by id`)},
	{"Query, cannot be encoded", query(`select $1::int, 1`, make(chan int))},
	{"Query, cannot be scanned", query(`select 'a'::text, 1`)},
	{"Query, closed after a row", func(ctx context.Context, tx pgx.Tx) string {
		rows, err := tx.Query(ctx, `select generate_series(1, $1::int)`, 1000)
		if err != nil {
			return outcome(err)
		}
		rows.Next()
		fields := len(rows.FieldDescriptions())
		rows.Close()
		return fmt.Sprint(fields, rows.CommandTag(), outcome(rows.Err()))
	}},

	{"QueryRow", queryRow(`select balance from accounts where id = $1`, 1)},
	{"QueryRow without arguments", queryRow(`select max(balance) from accounts`)},
	{"QueryRow without rows", queryRow(`select balance from accounts where id = $1`, 99)},
	{"QueryRow, missing table", queryRow(`select balance from missing where id = $1`, 99)},
	{"QueryRow, fails while running", queryRow(`select 1/$1::int`, 0)},
	{"QueryRow, cannot be encoded", queryRow(`select $1::int`, make(chan int))},
	{"QueryRow, cannot be scanned", queryRow(`select 'a'::text`)},
	{"QueryRow, mode as argument", queryRow(`select balance from accounts where id = $1`, pgx.QueryExecModeSimpleProtocol, 1)},

	{"SendBatch", batch(func(b *pgx.Batch) { b.Queue(move, 1, 5); b.Queue(`select id from accounts`) })},
	{"SendBatch, empty", batch(func(*pgx.Batch) {})},
	{"SendBatch that begins", batch(func(b *pgx.Batch) { b.BeginTx(pgx.TxOptions{}) })},
	{"SendBatch, missing table", batch(func(b *pgx.Batch) { b.Queue(move, 1, 5); b.Queue(`select id from missing where id = $1`, 1) })},
	{"SendBatch, fails while running", batch(func(b *pgx.Batch) { b.Queue(move, 1, 5); b.Queue(`select 1/$1::int`, 0) })},
	{"SendBatch, read one by one", func(ctx context.Context, tx pgx.Tx) string {
		b := &pgx.Batch{}
		b.Queue(move, 1, 5)
		b.Queue(`select balance from accounts where id = $1`, 1)
		results := tx.SendBatch(ctx, b)
		tag, err := results.Exec()
		var balance int
		scanned := results.QueryRow().Scan(&balance)
		return fmt.Sprint(tag, outcome(err), balance, outcome(scanned), outcome(results.Close()), results.Tx())
	}},
	{"SendBatch with callbacks", func(ctx context.Context, tx pgx.Tx) string {
		b, seen := &pgx.Batch{}, ""
		b.Queue(move, 1, 5).Exec(func(tag pgconn.CommandTag) error { seen += tag.String(); return nil })
		b.Queue(`select balance from accounts where id = $1`, 1).QueryRow(func(row pgx.Row) error {
			var balance int
			err := row.Scan(&balance)
			seen += fmt.Sprint(balance)
			return err
		})
		err := tx.SendBatch(ctx, b).Close()
		return seen + outcome(err)
	}},

	{"CopyFrom", func(ctx context.Context, tx pgx.Tx) string {
		n, err := tx.CopyFrom(ctx, pgx.Identifier{"accounts"}, []string{"id", "balance"},
			pgx.CopyFromRows([][]any{{3, 1}, {4, 1}}))
		return fmt.Sprint(n, outcome(err))
	}},
	{"CopyFrom, duplicate", func(ctx context.Context, tx pgx.Tx) string {
		n, err := tx.CopyFrom(ctx, pgx.Identifier{"accounts"}, []string{"id", "balance"},
			pgx.CopyFromRows([][]any{{1, 1}}))
		return fmt.Sprint(n, outcome(err))
	}},
	{"Prepare", func(ctx context.Context, tx pgx.Tx) string {
		_, err := tx.Prepare(ctx, "by_id", `select balance from accounts where id = $1`)
		return outcome(err) + queryRow("by_id", 1)(ctx, tx)
	}},
	{"Prepare, missing table", func(ctx context.Context, tx pgx.Tx) string {
		_, err := tx.Prepare(ctx, "bad", `select 1 from missing`)
		return outcome(err)
	}},
	{"Begin", func(ctx context.Context, tx pgx.Tx) string {
		inner, err := tx.Begin(ctx)
		if err != nil {
			return outcome(err)
		}
		failed := exec(`select 1/0`)(ctx, inner)
		return failed + outcome(inner.Rollback(ctx)) + outcome(inner.Commit(ctx))
	}},
	{"Begin and commit", func(ctx context.Context, tx pgx.Tx) string {
		inner, err := tx.Begin(ctx)
		if err != nil {
			return outcome(err)
		}
		return exec(move, 1, 5)(ctx, inner) + outcome(inner.Commit(ctx))
	}},
	{"LargeObjects", func(ctx context.Context, tx pgx.Tx) string {
		objects := tx.LargeObjects()
		id, err := objects.Create(ctx, 0)
		if err != nil {
			return outcome(err)
		}
		object, err := objects.Open(ctx, id, pgx.LargeObjectModeWrite|pgx.LargeObjectModeRead)
		if err != nil {
			return outcome(err)
		}
		n, err := io.WriteString(object, "text")
		return fmt.Sprint(n, outcome(err), outcome(objects.Unlink(ctx, id)))
	}},
	{"Conn", func(ctx context.Context, tx pgx.Tx) string {
		_, err := tx.Conn().Exec(ctx, move, 1, 5)
		return fmt.Sprint(outcome(err), string(tx.Conn().PgConn().TxStatus()))
	}},
	{"nothing", func(context.Context, pgx.Tx) string { return "" }},
}

func exec(sql string, args ...any) func(context.Context, pgx.Tx) string {
	return func(ctx context.Context, tx pgx.Tx) string {
		tag, err := tx.Exec(ctx, sql, args...)
		if err != nil {
			return outcome(err)
		}
		return tag.String()
	}
}

func query(sql string, args ...any) func(context.Context, pgx.Tx) string {
	return func(ctx context.Context, tx pgx.Tx) string {
		// Whether an error comes from Query or with the rows is not promised.
		rows, _ := tx.Query(ctx, sql, args...)
		var seen strings.Builder
		for rows.Next() {
			var a, b int
			if err := rows.Scan(&a, &b); err != nil {
				break
			}
			fmt.Fprint(&seen, a, b, ";")
		}
		rows.Close()
		return seen.String() + rows.CommandTag().String() + outcome(rows.Err())
	}
}

func queryRow(sql string, args ...any) func(context.Context, pgx.Tx) string {
	return func(ctx context.Context, tx pgx.Tx) string {
		var n int
		err := tx.QueryRow(ctx, sql, args...).Scan(&n)
		return fmt.Sprint(n, outcome(err))
	}
}

func batch(queue func(*pgx.Batch)) func(context.Context, pgx.Tx) string {
	return func(ctx context.Context, tx pgx.Tx) string {
		b := &pgx.Batch{}
		queue(b)
		return outcome(tx.SendBatch(ctx, b).Close())
	}
}

// outcome is what of an error has to be the same everywhere.
func outcome(err error) string {
	var pgError *pgconn.PgError
	switch {
	case err == nil:
		return " ok "
	case errors.As(err, &pgError):
		return fmt.Sprintf(" %s %s at %d ", pgError.Code, pgError.Message, pgError.Position)
	case errors.Is(err, pgx.ErrTxClosed):
		return " closed "
	}
	return " " + err.Error() + " "
}
