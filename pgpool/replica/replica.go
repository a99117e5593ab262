// Package replica reads from standbys: a [Cluster] is the pool of the primary and one for each read
// replica.
//
//	cluster, err := replica.Open(ctx, cfg) // DATABASE_URL, DATABASE_REPLICA_URLS and …_MAX_LAG
//	...
//	defer cluster.Shutdown(ctx)
//	cluster.Primary().Exec(ctx, "insert …")
//	rows, err := cluster.Reader(ctx).Query(ctx, "select …")
//
// [Cluster.Reader] takes the least busy of the replicas that are healthy and not too far behind,
// and the primary if there is none. It never blocks without a token.
//
// A replica shows a commit a moment later than the primary. A caller that must see its own writes
// carries a [Token]: [Cluster.Token] returns one after the commit, it travels as text in a header
// or cookie, and a Reader whose context has it ([WithToken]) is a pool that shows the commit.
package replica
