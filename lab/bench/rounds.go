package main

// usualRounds holds the default number of rounds of a comparison: enough for steady ratios, and for
// all comparisons together in less than 20 minutes.
var usualRounds = map[string]int{
	"query":       300,
	"list":        30,
	"transaction": 40,
	"database":    30,
	"connect":     20,
	"reuse":       10,
	"migration":   10,
	"backfill":    3,
	"prisma":      15,
	"storm":       3,
	"health":      20,
	"scaling":     40,
}

// otherRounds is the default for a comparison that usualRounds does not name.
const otherRounds = 10

func roundsOf(name string) int {
	if n, ok := usualRounds[name]; ok {
		return n
	}
	return otherRounds
}
