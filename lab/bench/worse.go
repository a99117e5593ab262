package main

import (
	"cmp"
	"slices"
)

// worseFrom is the ratio to a peer above which a side of ours is listed as worse, if its lower
// quartile is above 1 too: where the quartiles lie on both sides of 1, there is no difference to
// see.
const worseFrom = 1.05

// worse is a side of ours that took longer than a peer in the same table.
type worse struct {
	table       string
	side        string
	peer, first string // the best peer, and the side that the table's ratios are to, if it has any
	ratio       spread // to that peer
	toFirst     spread
	reason      string
}

// worseThanPeers lists them, the worst first.
func worseThanPeers(all []measured) []worse {
	var found []worse
	for _, m := range all {
		for _, s := range m.sides {
			if !isOurs(s.name) || s.failed != nil {
				continue
			}
			w := worse{table: m.title, side: s.name, toFirst: s.ratio}
			if m.sides[0].failed == nil {
				w.first = m.sides[0].name
			}
			for _, peer := range m.sides {
				if isOurs(peer.name) || peer.failed != nil {
					continue
				}
				if ratio := s.ratioTo(peer); ratio.q1 > 1 && ratio.median > w.ratio.median {
					w.peer, w.ratio = peer.name, ratio
				}
			}
			if w.ratio.median > worseFrom {
				w.reason = reasonFor(m.title, s.name, w.peer)
				found = append(found, w)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b worse) int { return cmp.Compare(b.ratio.median, a.ratio.median) })
	return found
}
