package main

import "regexp"

// reasons say why a side of ours may take longer than the best peer. The first whose three patterns
// fit counts.
var reasons = []struct{ table, side, peer, why string }{
	{
		`^Acquire and release`, `^pgpool`, ``,
		"Every acquire gets a context with the acquire timeout (its one allocation), reads the clock for it and for " +
			"the leak threshold, and its hook " +
			"looks whether the connection's server may have become read-only: 0.3 to 0.4 µs, little beside a query.",
	},
	{
		`^One query through the pool|^Scaling: a (short )?query (through|by)|^A row (read|inserted)`, `^pgpool`, ``,
		"The hooks of acquire and release, and a tracer that looks at each query's time and error. On an idle " +
			"machine that is about 1 % of a query; " +
			"far more is a disturbed run.",
	},
	{
		`^From nothing to a pool`, `^pgpool`, ``,
		"Connect makes three connections where the peer makes one: one that finds out whether the server can be " +
			"used, and is closed again, and the two idle ones, so that " +
			"the first requests find them.",
	},
	{
		`^A transaction with one statement.*`, `verified`, ``,
		"VerifyCommit asks for pg_current_xact_id in the flush of the first statement, one statement more, which " +
			"also makes the server assign the id " +
			"at once, and looks at the notices at COMMIT: what it takes to learn whether a broken COMMIT was applied.",
	},
	{
		`^A transaction with one statement.*`, `eager`, ``,
		"Eager sends BEGIN in a round trip of its own, as pgx.BeginFunc does and the peer that pipelines it does " +
			"not, so that nothing is saved; what is left is the guard " +
			"around the function: its transaction is found in ctx, outcomes are classified, and a retry is possible.",
	},
	{
		`^A transaction with one statement.*`, `^pgtx.Run$`, `^by hand`,
		"The peer written by hand sends the same and checks nothing: no rollback, no retry, no nested transaction, " +
			"no doubt about a COMMIT that was not " +
			"answered. On the same machine, where a round trip costs little, that guard shows.",
	},
	{
		`transactions with one statement, loopback|^Scaling: a transaction`, `^pgtx`, ``,
		"The cores are busy with the server's side of it when several run at a time, so that a saved round trip " +
			"saves little, and pgtx uses more of the client's: twice pgx's allocations.",
	},
	{
		`^A transaction with five nested`, `^pgtx`, `^GORM`,
		"The peer leaves its savepoints open instead of releasing each, which is a statement less for each nested " +
			"transaction.",
	},
	{
		`a start that finds nothing to do`, `^pgmigrate`, ``,
		"The history and the checksums of what is applied are read and compared.",
	},
	{
		`migrations from an empty database`, `^pgmigrate`, ``,
		"Each migration is also recorded in the history, with its checksum, which is how a file that was edited " +
			"later is found.",
	},
	{
		`^Scaling: (a query|CopyFrom|a batch of inserts)`, `^pgtx`, ``,
		"Few operations a round, the fewer the larger: where the sizes beside it do not show the same, it is chance.",
	},
	{
		`^A probe request`, `MaxAge: -1`, ``,
		"Each request asks what the server's connections and transactions do, on a connection of the probe's own, " +
			"where the peers ping.",
	},
	{
		`^A probe request`, `^pghealth`, ``,
		"An answer from results that are recent enough still is written anew, with every check's figures, as " +
			"application/health+json.",
	},
	{
		`^Real: .* start while the server is away`, `^pgpool`, ``,
		"Connect waits between attempts, longer if the server says that it is full, so that a server that comes up " +
			"is not overrun; a client that asks without " +
			"a pause is in earlier and costs the server several times the attempts.",
	},
	{
		`^Real: .* running pools`, `^pgpool`, ``,
		"A pool whose last attempt failed lets its callers wait a little before the next one, so that a server that " +
			"comes up is not overrun: fewer attempts for a later end.",
	},
}

const noReason = "No reason known yet."

func reasonFor(table, side, peer string) string {
	for _, r := range reasons {
		if matches(r.table, table) && matches(r.side, side) && matches(r.peer, peer) {
			return r.why
		}
	}
	return noReason
}

func matches(pattern, s string) bool {
	return regexp.MustCompile(pattern).MatchString(s)
}
