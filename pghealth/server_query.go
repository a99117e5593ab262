package pghealth

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgerr"
)

// askShare is the part of Options.Timeout that one of the queries below may take. The probe has one
// connection: these queries must not make the check of connectivity late, which may have to wait
// for three of them.
const askShare = 4

// ask returns the one row of a query as numbers, NaN for NULL. Like readsOnly it uses the simple
// protocol. The server ends a query that takes too long, which leaves the connection intact; both
// statements are one transaction.
func (p *Probe) ask(ctx context.Context, sql string) ([]float64, error) {
	limit := max(p.opts.Timeout/askShare, time.Millisecond).Milliseconds()
	var row []float64
	err := p.session.do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		row = nil
		results, err := conn.PgConn().Exec(ctx, "set local statement_timeout = "+strconv.FormatInt(limit, 10)+"; "+sql).ReadAll()
		if err != nil {
			return err
		}
		if len(results) != 2 || len(results[1].Rows) != 1 {
			return fmt.Errorf("%d results instead of one row", len(results))
		}
		for _, value := range results[1].Rows[0] {
			n := math.NaN()
			if value != nil {
				if n, err = strconv.ParseFloat(string(value), 64); err != nil {
					return err
				}
			}
			row = append(row, n)
		}
		return nil
	})
	return row, err
}

// unread is an observation that could not be made because of err.
func unread(err error, output string) observation {
	seen := failure(err, output)
	var unreached *unreachedError
	if errors.As(err, &unreached) { // what connectivity tells
		seen.unobserved, seen.output = true, outputUnreached
	}
	if seen.category == pgerr.Timeout {
		seen.output = outputNoAnswer
	}
	return seen
}

const outputUnreached = "not observed: the database cannot be reached"
