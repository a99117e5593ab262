package chaos_test

import (
	"testing"

	"github.com/page-builder/persistence/lab/cluster/chaos"
)

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }

// The judge rejects every history in which something went wrong, and accepts all others.
func TestJudge(t *testing.T) {
	t.Parallel()
	line := func(transfer int64, attempt int) chaos.Line {
		return chaos.Line{Transfer: transfer, Attempt: attempt, Source: 1, Target: 2, Amount: 5}
	}
	balances := func(one, two int64) map[int]int64 { return map[int]int64{1: one, 2: two} }
	for name, test := range map[string]struct {
		told  []chaos.Told
		lines []chaos.Line
		ends  map[int]int64
		want  chaos.Verdict
		fine  bool
	}{
		"nothing happened": {ends: balances(100, 100), fine: true},
		"all is well": {
			told: []chaos.Told{{Transfer: 1}, {Transfer: 2, Outcome: chaos.Refused}}, lines: []chaos.Line{line(1, 3)},
			ends: balances(95, 105),
			want: chaos.Verdict{Acknowledged: 1, Refused: 1}, fine: true,
		},
		"acknowledged and lost": {
			told: []chaos.Told{{Transfer: 1}}, ends: balances(100, 100), want: chaos.Verdict{Acknowledged: 1, Lost: 1},
		},
		"applied twice": {
			told: []chaos.Told{{Transfer: 1}}, lines: []chaos.Line{line(1, 1), line(1, 2)}, ends: balances(90, 110),
			want: chaos.Verdict{Acknowledged: 1, Twice: 1},
		},
		"unknown and applied twice": {
			told:  []chaos.Told{{Transfer: 1, Outcome: chaos.Unknown}},
			lines: []chaos.Line{line(1, 1), line(1, 2)}, ends: balances(90, 110),
			want: chaos.Verdict{Unknown: 1, UnknownApplied: 1, Twice: 1},
		},
		"denied and yet applied": {
			told: []chaos.Told{{Transfer: 1, Outcome: chaos.Refused}}, lines: []chaos.Line{line(1, 1)},
			ends: balances(95, 105),
			want: chaos.Verdict{Refused: 1, Denied: 1},
		},
		"unknown, applied or not": {
			told:  []chaos.Told{{Transfer: 1, Outcome: chaos.Unknown}, {Transfer: 2, Outcome: chaos.Unknown}},
			lines: []chaos.Line{line(1, 1)}, ends: balances(95, 105),
			want: chaos.Verdict{Unknown: 2, UnknownApplied: 1}, fine: true,
		},
		"resolved as it is": {
			told: []chaos.Told{
				{Transfer: 1, Outcome: chaos.Unknown, Resolved: yes()},
				{Transfer: 2, Outcome: chaos.Unknown, Resolved: no()},
			},
			lines: []chaos.Line{line(1, 1)}, ends: balances(95, 105), want: chaos.Verdict{Unknown: 2, Resolved: 2},
			fine: true,
		},
		"resolved as committed and lost": {
			told: []chaos.Told{{Transfer: 1, Outcome: chaos.Unknown, Resolved: yes()}}, ends: balances(100, 100),
			want: chaos.Verdict{Unknown: 1, Resolved: 1, Lost: 1},
		},
		"resolved as rolled back and applied": {
			told:  []chaos.Told{{Transfer: 1, Outcome: chaos.Unknown, Resolved: no()}},
			lines: []chaos.Line{line(1, 1)}, ends: balances(95, 105),
			want: chaos.Verdict{Unknown: 1, Resolved: 1, Denied: 1},
		},
		"nobody asked for it": {
			lines: []chaos.Line{line(1, 1)}, ends: balances(95, 105), want: chaos.Verdict{Strange: 1},
		},
		"half a transfer": {
			told: []chaos.Told{{Transfer: 1}}, lines: []chaos.Line{line(1, 1)}, ends: balances(95, 100),
			want: chaos.Verdict{Acknowledged: 1, Money: 2}, // the account, and the sum
		},
		"money on the wrong account": {
			told: []chaos.Told{{Transfer: 1}}, lines: []chaos.Line{line(1, 1)},
			ends: map[int]int64{1: 95, 2: 100, 3: 105},
			want: chaos.Verdict{Acknowledged: 1, Money: 2},
		},
		"an account is gone": {
			told: []chaos.Told{{Transfer: 1}}, lines: []chaos.Line{line(1, 1)}, ends: map[int]int64{1: 95},
			want: chaos.Verdict{Acknowledged: 1, Money: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := chaos.Judge(test.told, chaos.Book{Lines: test.lines, Balances: test.ends, Opening: 100})
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if fine := len(got.Broken()) == 0; fine != test.fine {
				t.Errorf("broken: %q", got.Broken())
			}
		})
	}
}
