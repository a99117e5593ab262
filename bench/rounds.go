package main

// usualRounds are those of a comparison when no number is asked for: enough for steady ratios, and all of them in less than 20 minutes.
var usualRounds = map[string]int{
	"query":       60,
	"transaction": 30,
	"database":    20,
	"connect":     20,
	"reuse":       10,
	"migration":   10,
	"prisma":      5,
	"storm":       3,
	"health":      10,
	"scaling":     10,
}

// otherRounds are those of a comparison that usualRounds does not name.
const otherRounds = 10

func roundsOf(name string) int {
	if n, ok := usualRounds[name]; ok {
		return n
	}
	return otherRounds
}
