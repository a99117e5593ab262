package main

// usualRounds are those of a comparison when no number is asked for: enough for steady ratios, and
// all of them in less than 20 minutes.
var usualRounds = map[string]int{
	"query":       300,
	"list":        30,
	"transaction": 40,
	"database":    30,
	"connect":     20,
	"reuse":       10,
	"migration":   10,
	"prisma":      15,
	"storm":       3,
	"health":      20,
	"scaling":     40,
}

// otherRounds are those of a comparison that usualRounds does not name.
const otherRounds = 10

func roundsOf(name string) int {
	if n, ok := usualRounds[name]; ok {
		return n
	}
	return otherRounds
}
