package pgserver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// throwAwaySettings returns the postgresql.conf of a server whose data may be lost. No setting
// changes what a query returns.
func throwAwaySettings(extra map[string]string) string {
	set := map[string]string{
		// Durability off: data is lost with the machine, and should be.
		"fsync":              "off",
		"synchronous_commit": "off",
		"full_page_writes":   "off",
		"wal_level":          "minimal",
		"max_wal_senders":    "0",
		// Short-lived databases give autovacuum nothing to do, and its workers delay CREATE and
		// DROP DATABASE.
		"autovacuum": "off",
		// Compiling takes longer than any test query runs.
		"jit": "off",
		// Room for parallel test packages with a pool per test.
		"max_connections": "500",
		// A leftover backend goes away when its client died in the middle of a long statement.
		"client_connection_check_interval": "1s",
		// The log lives in memory with the rest: keep what explains a crash or a failed start, not
		// each failed statement.
		"log_min_messages": "log",
		"log_checkpoints":  "off",
		// Files in the data directory, not in /dev/shm: they go with it even after a kill -9.
		"dynamic_shared_memory_type": "mmap",
		"timezone":                   "UTC",
		"log_timezone":               "UTC",
		"listen_addresses":           "",
	}
	maps.Copy(set, extra)
	return formatSettings(set)
}

// formatSettings writes settings in the syntax of postgresql.conf.
func formatSettings(set map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(set)) {
		fmt.Fprintf(&b, "%s = '%s'\n", k, strings.ReplaceAll(set[k], "'", "''"))
	}
	return b.String()
}
