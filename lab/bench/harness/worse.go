package harness

import (
	"cmp"
	"regexp"
	"slices"
)

// worseFrom is the ratio to a peer from which one of our sides is listed as worse, provided that
// the lower quartile is above 1. Quartiles on both sides of 1 mean no visible difference.
const worseFrom = 1.05

// Reason says why one of our sides may take longer than the best peer. All fields except Why are
// regular expressions.
type Reason struct{ Table, Side, Peer, Why string }

const noReason = "No reason known yet."

// worse is a side of ours that took longer than a peer in the same table.
type worse struct {
	table, side string
	peer, first string // the best peer, and the side that the table's ratios refer to
	ratio       Spread // to that peer
	toFirst     Spread
	reason      string
}

// worseThanPeers returns these sides, worst first.
func (r *Report) worseThanPeers() []worse {
	var found []worse
	for _, t := range r.Tables {
		for _, row := range t.Rows {
			if !IsOurs(row.Name) || row.Failed != nil {
				continue
			}
			w := worse{table: t.Title, side: row.Name, toFirst: row.Ratio}
			if t.Rows[0].Failed == nil {
				w.first = t.Rows[0].Name
			}
			for _, peer := range t.Rows {
				if IsOurs(peer.Name) || peer.Failed != nil {
					continue
				}
				if ratio := row.ratioTo(peer); ratio.Q1 > 1 && ratio.Median > w.ratio.Median {
					w.peer, w.ratio = peer.Name, ratio
				}
			}
			if w.ratio.Median > worseFrom {
				w.reason = r.reasonFor(t.Comparison, t.Title, row.Name, w.peer)
				found = append(found, w)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b worse) int { return cmp.Compare(b.ratio.Median, a.ratio.Median) })
	return found
}

// reasonFor returns the comparison's first reason with matching patterns.
func (r *Report) reasonFor(comparison, table, side, peer string) string {
	for _, s := range r.sections {
		if s.comparison.Name != comparison {
			continue
		}
		for _, reason := range s.comparison.Reasons {
			if matches(reason.Table, table) && matches(reason.Side, side) && matches(reason.Peer, peer) {
				return reason.Why
			}
		}
	}
	return noReason
}

func matches(pattern, s string) bool { return regexp.MustCompile(pattern).MatchString(s) }
