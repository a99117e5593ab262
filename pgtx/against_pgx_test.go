package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtx"
)

// deed is one thing that a program does with a transaction. It describes what it saw.
type deed struct {
	name string
	do   func(ctx context.Context, tx pgx.Tx) string
}

func told(err error) string {
	switch {
	case err == nil:
		return "ok"
	case code(err) != "":
		return code(err)
	case errors.Is(err, pgx.ErrNoRows):
		return "no rows"
	case errors.Is(err, pgx.ErrTxClosed):
		return "closed"
	}
	return "client error"
}

// deeds are drawn with numbers, so that texts are new or known.
func drawDeeds(r *rand.Rand, depth int) []deed {
	var program []deed
	for range 1 + r.IntN(5) {
		n := r.IntN(8)
		comment := fmt.Sprintf(" -- %d", r.IntN(400))
		kinds := []deed{
			{"update", func(ctx context.Context, tx pgx.Tx) string {
				tag, err := tx.Exec(ctx, move+comment, 1, n)
				return tag.String() + told(err)
			}},
			{"update without arguments", func(ctx context.Context, tx pgx.Tx) string {
				tag, err := tx.Exec(ctx, fmt.Sprintf(`update accounts set balance = balance + %d where id = 2`, n))
				return tag.String() + told(err)
			}},
			{"several", func(ctx context.Context, tx pgx.Tx) string {
				tag, err := tx.Exec(ctx, `select 1; update accounts set balance = balance + 1; select 2`)
				return tag.String() + told(err)
			}},
			{"rows", func(ctx context.Context, tx pgx.Tx) string {
				rows, err := tx.Query(ctx, `select id, balance from accounts where id > $1 order by id`+comment, n-6)
				all, late := pgx.CollectRows(rows, pgx.RowToMap)
				return fmt.Sprint(all) + told(errors.Join(err, late))
			}},
			{"row", func(ctx context.Context, tx pgx.Tx) string {
				var balance int
				err := tx.QueryRow(ctx, `select balance from accounts where id = $1`+comment, n).Scan(&balance)
				return strconv.Itoa(balance) + told(err)
			}},
			{"divide", func(ctx context.Context, tx pgx.Tx) string {
				var quotient int
				err := tx.QueryRow(ctx, `select 10 / $1::int`, n-4).Scan(&quotient)
				return strconv.Itoa(quotient) + told(err)
			}},
			{"late failure", func(ctx context.Context, tx pgx.Tx) string {
				rows, err := tx.Query(ctx, `select 1 / (2 - i) from generate_series(1, $1) i`, 2+n%2)
				seen := 0
				for rows.Next() {
					seen++
				}
				return fmt.Sprint(seen, told(errors.Join(err, rows.Err()))) // which of them depends on what is cached
			}},
			{"unknown table", func(ctx context.Context, tx pgx.Tx) string {
				_, err := tx.Exec(ctx, `delete from nowhere where id = $1`, n)
				return told(err)
			}},
			{"syntax", func(ctx context.Context, tx pgx.Tx) string {
				_, err := tx.Exec(ctx, `updat accounts`)
				return told(err)
			}},
			{"does not fit", func(ctx context.Context, tx pgx.Tx) string {
				_, err := tx.Exec(ctx, `select $1::int4`, int64(1)<<40)
				return told(err)
			}},
			{"scan fails", func(ctx context.Context, tx pgx.Tx) string {
				return told(tx.QueryRow(ctx, `select 'a' where $1`, true).Scan(new(int)))
			}},
			{"named", func(ctx context.Context, tx pgx.Tx) string {
				tag, err := tx.Exec(ctx, `update accounts set balance = balance + @n where id = @id`, pgx.NamedArgs{"n": n, "id": 1})
				return tag.String() + told(err)
			}},
			{"comment", func(ctx context.Context, tx pgx.Tx) string {
				rows, err := tx.Query(ctx, `-- nothing`)
				rows.Close()
				return told(errors.Join(err, rows.Err()))
			}},
			{"batch", func(ctx context.Context, tx pgx.Tx) string {
				b := moves()
				var sum int
				b.Queue(`select sum(balance) from accounts`).QueryRow(func(row pgx.Row) error { return row.Scan(&sum) })
				if n > 5 {
					b.Queue(`select 1 / $1::int`, n-6)
				}
				err := tx.SendBatch(ctx, b).Close()
				return strconv.Itoa(sum) + told(err)
			}},
			{"copy", func(ctx context.Context, tx pgx.Tx) string {
				copied, err := tx.CopyFrom(ctx, pgx.Identifier{"accounts"}, []string{"id", "balance"},
					pgx.CopyFromRows([][]any{{n, 1}}))
				return strconv.FormatInt(copied, 10) + told(err)
			}},
			{"own savepoint", func(ctx context.Context, tx pgx.Tx) string {
				_, err := tx.Exec(ctx, `savepoint mine`)
				_, err2 := tx.Exec(ctx, `select 1 / $1::int`, n%2)
				_, err3 := tx.Exec(ctx, `rollback to mine`)
				return told(err) + told(err2) + told(err3)
			}},
			{"prepare", func(ctx context.Context, tx pgx.Tx) string {
				_, err := tx.Prepare(ctx, "named", `select $1::int`)
				return told(err) + told(tx.QueryRow(ctx, "named", n).Scan(new(int)))
			}},
			{"connection", func(ctx context.Context, tx pgx.Tx) string {
				tag, err := tx.Conn().Exec(ctx, `update accounts set balance = balance - $1`, n)
				return tag.String() + told(err)
			}},
		}
		if depth < 3 && r.IntN(3) == 0 {
			inner, commit := drawDeeds(r, depth+1), r.IntN(2) == 0
			program = append(program, deed{"begin", func(ctx context.Context, tx pgx.Tx) string {
				sp, err := tx.Begin(ctx)
				if err != nil {
					return "failed already" // pgx says 25P02, this package the cause
				}
				var b strings.Builder
				for _, d := range inner {
					b.WriteString(d.name + ": " + d.do(ctx, sp) + "; ")
				}
				if commit {
					err = sp.Commit(ctx)
				} else {
					err = sp.Rollback(ctx)
				}
				return "(" + b.String() + told(err) + ")"
			}})
			continue
		}
		program = append(program, kinds[r.IntN(len(kinds))])
	}
	return program
}

// TestAgainstPgx runs random programs in transactions of pgx and of this package and compares what
// they saw and left. PGTX_AGAINST sets how many.
func TestAgainstPgx(t *testing.T) {
	t.Parallel()
	n := 60
	if text := os.Getenv("PGTX_AGAINST"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("PGTX_AGAINST: %v", err)
		}
	}
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			var pools [3]*pgxpool.Pool
			for i := range pools {
				pools[i], _ = countFlushes(t, setup(t).url, mode)
			}
			seed := rand.Uint64()
			for i := range n / len(execModes) {
				commits := rand.IntN(4) > 0
				var seen [3]string
				for side, pool := range pools {
					program := drawDeeds(rand.New(rand.NewPCG(seed, uint64(i))), 0)
					if _, err := pool.Exec(t.Context(), `delete from accounts; insert into accounts values (1, 100), (2, 100)`); err != nil {
						t.Fatal(err)
					}
					var b strings.Builder
					fn := func(ctx context.Context, tx pgx.Tx) error {
						for _, d := range program {
							b.WriteString(d.name + ": " + d.do(ctx, tx) + "\n")
						}
						if commits {
							return nil
						}
						return errBusiness
					}
					var err error
					if side == 0 {
						err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return fn(t.Context(), tx) })
					} else {
						err = pgtx.RunWith(t.Context(), pool, pgtx.Options{MaxAttempts: 1, Eager: side == 2}, fn)
					}
					result := "committed"
					switch {
					case errors.Is(err, pgx.ErrTxCommitRollback):
						result = "rolled back"
					case errors.Is(err, errBusiness):
						result = "business"
					case err != nil:
						result = err.Error()
					}
					var left string
					if err := pool.QueryRow(t.Context(), `select coalesce(string_agg(id || ':' || balance, ' ' order by id), '') from accounts`).Scan(&left); err != nil {
						t.Fatal(err)
					}
					seen[side] = b.String() + result + ", " + left
				}
				if seen[0] != seen[1] || seen[0] != seen[2] {
					t.Fatalf("seed %d, program %d:\n%s\nlazy:\n%s\neager:\n%s", seed, i, seen[0], seen[1], seen[2])
				}
			}
		})
	}
}
