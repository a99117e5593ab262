package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// Workers take ranges in turn. Each has at least rowsInRange rows by the planner's estimate.
	rowsInRange = 5_000
	mostRanges  = 64

	// sampledRows are read to cut a table into ranges.
	sampledRows = 50_000
)

// keyRange is a row of the table backfill_range: the keys behind last, which is not one of them, up
// to upper, which is. A batch locks the row, moves last, and commits both with its own changes. So
// nothing says which worker has a range: the lock does, and it ends with the transaction.
type keyRange struct {
	number      int
	last, upper []string // nil: no bound
	rows        int64
	batches     int64
	size        int     // rows of the next batch
	rate        float64 // rows a second of the worker that is at it
	attempts    int     // failures since the last batch
	done        bool
}

func (r *Runner) rangeTable() string { return r.opts.HistorySchema + ".backfill_range" }

// claim locks a range that no other batch has, the worker's last one if it can. It returns nil if
// there is none.
func (w *worker) claim(ctx context.Context, tx pgx.Tx) (*keyRange, error) {
	g := &keyRange{}
	err := tx.QueryRow(ctx, "select number, last_key, upper_key, rows_done, batches, batch_size, rate, attempts from "+
		w.rangeTable()+" where version_table = $1 and name = $2 and not done order by number = $3 desc, number limit "+
		"1 for update skip locked", pgx.QueryExecModeExec, w.opts.VersionTable, w.backfill.Name, w.at.number).
		Scan(&g.number, &g.last, &g.upper, &g.rows, &g.batches, &g.size, &g.rate, &g.attempts)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("backfill %s: claim a range: %w", w.backfill.Name, err)
	}
	if g.batches == 0 && g.attempts == 0 && w.at.size > 0 {
		g.size, g.rate = w.at.size, w.at.rate // what the worker has learned elsewhere
	}
	return g, nil
}

// advance counts a batch whose rows took some time, and chooses the size of the next.
func (g *keyRange) advance(rows int64, took, target, interval time.Duration) {
	g.rows += rows
	g.batches++
	g.attempts = 0
	rate := float64(rows) / max(interval, time.Millisecond).Seconds()
	const weight = 0.1
	if g.rate > 0 {
		rate = weight*rate + (1-weight)*g.rate
	}
	g.rate = rate
	factor := min(2, max(0.25, aim*float64(target)/float64(max(took, time.Microsecond))))
	if rows < int64(g.size) {
		g.done = true
		factor = min(1, factor) // nothing is known about a full batch
	}
	g.size = min(mostRows, max(min(g.size, leastRows), int(float64(g.size)*factor)))
}

// writeRange records a range after a batch.
func (w *worker) writeRange(ctx context.Context, q querier, g *keyRange) error {
	_, err := q.Exec(ctx, "update "+w.rangeTable()+" set last_key = $4, rows_done = $5, batches = $6, batch_size = "+
		"$7, rate = $8, attempts = 0, error = null, done = $9, updated_at = clock_timestamp() "+
		"where version_table = $1 and name = $2 and number = $3", pgx.QueryExecModeExec, w.opts.VersionTable,
		w.backfill.Name, g.number, g.last, g.rows, g.batches, g.size, g.rate, g.done)
	if err != nil {
		return fmt.Errorf("backfill %s: record the progress: %w", w.backfill.Name, err)
	}
	return nil
}

// cut returns the upper bounds of ranges with about as many rows each, but for the last range,
// which has none. They need not be exact.
func (s *source) cut(ctx context.Context, conn *pgx.Conn, rows int64) ([][]string, error) {
	ranges := min(rows/rowsInRange, mostRanges)
	if ranges < 2 {
		return nil, nil
	}
	percent := min(100, 100*sampledRows/float64(rows))
	result := conn.PgConn().ExecParams(ctx, s.boundsSQL(percent), [][]byte{fmt.Append(nil, ranges)},
		[]uint32{int8OID}, nil, nil).Read()
	var pgErr *pgconn.PgError
	if errors.As(result.Err, &pgErr) && pgErr.Code == "0A000" {
		return nil, nil // an extension's table that cannot be sampled
	}
	if result.Err != nil {
		return nil, result.Err
	}
	var bounds [][]string
	for _, row := range result.Rows {
		bounds = append(bounds, texts(row))
	}
	return bounds, nil
}

// insertRanges adds the ranges that end at bounds, and one behind them.
func (w *worker) insertRanges(ctx context.Context, tx pgx.Tx, bounds [][]string) error {
	var last []string
	for i, upper := range append(bounds, nil) {
		_, err := tx.Exec(ctx, "insert into "+w.rangeTable()+" (version_table, name, number, last_key, upper_key, "+
			"batch_size) values ($1, $2, $3, $4, $5, $6)", pgx.QueryExecModeExec, w.opts.VersionTable, w.backfill.Name,
			i+1, last, upper, firstSize)
		if err != nil {
			return fmt.Errorf("cut ranges: %w", err)
		}
		last = upper
	}
	return nil
}

func texts(row [][]byte) []string {
	values := make([]string, len(row))
	for i := range row {
		values[i] = string(row[i])
	}
	return values
}
