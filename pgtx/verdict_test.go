package pgtx_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

// verdict counts transfers by what their caller was told and what is in the ledger.
type verdict struct {
	faults                         map[string]int
	committed, failed              int // as they were told
	unknownApplied, unknownMissing int
	lost                           int // told that it committed, and it is not there
	doubled                        int // there more than once
	denied                         int // told that it failed, and it is there
}

func (v verdict) wrong() int { return v.lost + v.doubled + v.denied }

func (v verdict) unknown() int { return v.unknownApplied + v.unknownMissing }

func (v verdict) String() string {
	var b strings.Builder
	sum := 0
	for _, name := range slices.Sorted(maps.Keys(v.faults)) {
		sum += v.faults[name]
		fmt.Fprintf(&b, "\n%6d %s", v.faults[name], name)
	}
	return fmt.Sprintf("%d faults: %d told committed, %d failed, %d unknown (%d of them applied); %d lost, %d doubled, %d denied%s",
		sum, v.committed, v.failed, v.unknown(), v.unknownApplied, v.lost, v.doubled, v.denied, &b)
}

// audit compares what the callers were told with the lines, and the balances with the lines.
func (l *ledger) audit(t *testing.T) verdict {
	t.Helper()
	l.eventually(t, `select count(*) = 1 from pg_stat_activity where datname = current_database() and (state <> 'idle' or pid = pg_backend_pid())`)
	l.eventually(t, `select not exists (select from accounts a where balance <> 100
		- (select count(*) from lines where source = a.id) + (select count(*) from lines where target = a.id))`)
	return l.judge(l.lines(t))
}

// line is an attempt that was applied.
type line struct{ transfer, attempt int }

func (b *bundle) lines(t *testing.T) map[line]bool {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `select transfer, attempt from lines`)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[line]bool{}
	var next line
	if _, err := pgx.ForEachRow(rows, []any{&next.transfer, &next.attempt}, func() error {
		lines[next] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return lines
}

func (l *ledger) judge(lines map[line]bool) verdict {
	applied := map[int]int{}
	for line := range lines {
		applied[line.transfer]++
	}
	v := verdict{faults: l.met}
	for n, err := range l.told {
		there := applied[n]
		if there > 1 {
			v.doubled++
		}
		switch {
		case errors.As(err, new(*pgtx.CommitUnknownError)) && there == 0:
			v.unknownMissing++
		case errors.As(err, new(*pgtx.CommitUnknownError)):
			v.unknownApplied++
		case err == nil:
			v.committed++
			if there == 0 {
				v.lost++
			}
		default:
			v.failed++
			if there > 0 {
				v.denied++
			}
		}
	}
	return v
}
