package main

import (
	"regexp"
	"slices"
)

// barCharts are drawn from the tables that they name, if those were measured.
var barCharts = []bars{
	{
		comparison: "query", file: "query", title: "A query through the pool",
		panels: []panel{
			{"One query through the pool", "one query"},
			{"Acquire and release", "acquire and release, without a query"},
		},
	},
	{
		comparison: "transaction", file: "transaction", title: "A transaction with one statement",
		panels: []panel{
			{"A transaction with one statement, loopback", "on the same machine"},
			{"A transaction with one statement, 1ms round trip", "1 ms round trip"},
			{"A transaction with one statement, 5ms round trip", "5 ms round trip"},
		},
	},
	{
		comparison: "database", file: "database", title: "A migrated database for a test",
		panels: []panel{
			{
				"A database and a first query, in tests with 50 ms of own work, one at a time",
				"one at a time, until ready",
			},
			{"The same without own work, 8 at a time, time for a test with its drop", "8 at a time, with drop"},
			{"The same without own work, 32 at a time, time for a test with its drop", "32 at a time, with drop"},
		},
	},
	{
		comparison: "migration", file: "migration",
		title:  "The longest stall of a query while ALTER TABLE waits for a transaction of 5 s",
		panels: []panel{{stallTitle, "seconds, one attempt of each"}}, times: true,
	},
}

// charts draws what of the figures there is a chart for.
func charts(all []measured) ([]*chart, error) {
	var drawn []*chart
	for _, b := range slices.Concat(barCharts, prismaCharts(all)) {
		c, err := b.draw(all)
		if err != nil {
			return nil, err
		}
		if c != nil {
			drawn = append(drawn, c)
		}
	}
	for _, c := range growingOf(all) {
		d, err := c.draw()
		if err != nil {
			return nil, err
		}
		if d != nil {
			drawn = append(drawn, d)
		}
	}
	return drawn, nil
}

// atATime is the part of a title that says how many of an operation run at the same time.
var atATime = regexp.MustCompile(`,? (\d+ (?:at a time|at once|in parallel|workers|clients|callers))`)

// prismaCharts are a chart for each operation that was compared with Prisma, with a panel for each
// number at a time.
func prismaCharts(all []measured) []bars {
	var found []bars
	for _, m := range all {
		parts := atATime.FindStringSubmatch(m.title)
		if m.comparison != "prisma" || parts == nil {
			continue
		}
		what := atATime.ReplaceAllString(m.title, "")
		at := slices.IndexFunc(found, func(b bars) bool { return b.title == what })
		if at < 0 {
			at = len(found)
			found = append(found, bars{comparison: m.comparison, file: "prisma-" + fileName(what), title: what})
		}
		found[at].panels = append(found[at].panels, panel{table: m.title, heading: parts[1]})
	}
	return found
}
