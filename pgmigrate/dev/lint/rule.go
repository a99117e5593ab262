package lint

// Rule is one kind of finding.
type Rule struct {
	Name     string
	Severity Severity
	Why      string
}

// Rules returns all rules, by name. The caller owns the slice.
func Rules() []Rule { return append([]Rule(nil), rules...) }

func ruleNamed(name string) (Rule, bool) {
	for _, r := range rules {
		if r.Name == name {
			return r, true
		}
	}
	return Rule{}, false
}

var rules = []Rule{
	{
		"allow-without-reason", SeverityError,
		"the next reader of the migration needs to know why it was safe here",
	},
	{
		"alter-system", SeverityWarning,
		"it changes the configuration of the whole cluster, and rolling back the migration does not undo it",
	},
	{
		"attach-partition", SeverityError,
		"attaching scans the rows that are there, while the lock blocks reads and writes of what is scanned",
	},
	{
		"backfill-gate", SeverityError,
		"where the backfill is not done it fails, or values are lost that were not copied yet",
	},
	{
		"backfill-in-ddl-transaction", SeverityError,
		"the locks of the statements before are held until all rows are written: queries wait that long",
	},
	{"backfill-missing", SeverityError, "the migration, and all after it, waits for ever"},
	{
		"backfill-unused", SeverityHint,
		"nothing runs it where up is given --backfill, and nothing waits until all rows have a value",
	},
	{
		"cascade", SeverityWarning,
		"it also drops whatever depends on it in production, including what no migration knows of",
	},
	{"check-without-not-valid", SeverityError, "every row is checked while ACCESS EXCLUSIVE blocks reads and writes"},
	{
		"cluster", SeverityError,
		"the table is rewritten in the order of an index while ACCESS EXCLUSIVE blocks reads and writes",
	},
	{
		"column-type", SeverityError,
		"the table, or an index, is rewritten while ACCESS EXCLUSIVE blocks reads and writes",
	},
	{
		"column-type-timezone", SeverityWarning,
		"the server rewrites the table unless the session's TimeZone is UTC, and takes the old values for that zone's",
	},
	{"concurrently-in-transaction", SeverityError, "PostgreSQL refuses it in a transaction, so the migration fails"},
	{
		"detach-partition", SeverityError,
		"it takes ACCESS EXCLUSIVE on the parent and the partition, and waits for every query on any partition",
	},
	{
		"disabled-trigger", SeverityWarning,
		"rows that are written in the meantime do not have what the trigger, or a foreign key, is there for",
	},
	{
		"domain-constraint", SeverityError,
		"every table that uses the domain is scanned while a SHARE lock blocks its writes",
	},
	{"drop-column", SeverityError, "instances of the previous release still name the column, and its data is gone"},
	{"drop-database", SeverityError, "everything in it is gone"},
	{
		"drop-default", SeverityError,
		"inserts of the previous release leave the column out and rely on its default: they fail",
	},
	{
		"drop-foreign-key", SeverityWarning,
		"one statement takes ACCESS EXCLUSIVE on both tables: queries on both wait, and a query that locks " +
			"them in another order deadlocks",
	},
	{"drop-function", SeverityError, "instances of the previous release still call it"},
	{
		"drop-index", SeverityError,
		"ACCESS EXCLUSIVE on the index's table is waited for behind every query that runs, and blocks those " +
			"that come after",
	},
	{
		"drop-missing", SeverityWarning,
		"production may have something under that name that nobody judged: how long it locks, and what is " +
			"lost, is unknown",
	},
	{"drop-schema", SeverityError, "instances of the previous release still use what is in it, and its data is gone"},
	{"drop-sequence", SeverityError, "instances of the previous release still take numbers from it"},
	{"drop-table", SeverityError, "instances of the previous release still use the table, and its data is gone"},
	{
		"drop-type", SeverityError,
		"instances of the previous release still name the type, in casts and when they look it up at connect",
	},
	{"drop-view", SeverityWarning, "instances of the previous release still read from the view"},
	{
		"enum-value-in-same-transaction", SeverityError,
		"PostgreSQL refuses a new value of an enum until the transaction that added it has committed",
	},
	{
		"exclusion-constraint", SeverityError,
		"its index is built while ACCESS EXCLUSIVE blocks reads and writes; there is no concurrent form",
	},
	{"fails", SeverityError, "the migration cannot be applied"},
	{
		"foreign-key-without-not-valid", SeverityError,
		"every row is looked up while SHARE ROW EXCLUSIVE blocks writes of both tables",
	},
	{"generated-always", SeverityError, "inserts of the previous release that give the column a value fail"},
	{
		"index-without-concurrently", SeverityError,
		"the index is built while a SHARE lock blocks all writes of the table",
	},
	{
		"int-primary-key", SeverityHint,
		"at 2,147,483,647 rows inserts fail, and changing the type then rewrites the table and everything " +
			"that refers to it",
	},
	{
		"json-column", SeverityWarning,
		"json has no equality: SELECT DISTINCT, GROUP BY and UNION over the row fail from now on",
	},
	{"lock-table", SeverityError, "queries of the table wait until the migration's transaction ends"},
	{
		"no-lock-timeout", SeverityWarning,
		"nothing limits the wait for the lock: while the statement queues for its lock, every query on the " +
			"table queues behind it",
	},
	{
		"not-null-unfilled", SeverityHint,
		"the migration, or the validation of its check, fails in production if a row has no value there",
	},
	{"refresh-materialized-view", SeverityError, "ACCESS EXCLUSIVE blocks reads of the view while its query runs"},
	{
		"reindex", SeverityError,
		"the index is built while writes of the table are blocked, and reads that would use the index too",
	},
	{
		"rename-column", SeverityError,
		"instances of the previous release still use the old name, those of the next the new one: one of them fails",
	},
	{"rename-enum-value", SeverityError, "instances of the previous release still send and expect the old value"},
	{
		"rename-function", SeverityError,
		"instances of the previous release still call the old name, those of the next the new one: one of them fails",
	},
	{
		"rename-schema", SeverityError,
		"instances of the previous release still use the old name, those of the next the new one: one of them fails",
	},
	{
		"rename-sequence", SeverityError,
		"instances of the previous release still use the old name, those of the next the new one: one of them fails",
	},
	{
		"rename-table", SeverityError,
		"instances of the previous release still use the old name, those of the next the new one: one of them fails",
	},
	{
		"rename-type", SeverityError,
		"instances of the previous release still use the old name, those of the next the new one: one of them fails",
	},
	{
		"required-column", SeverityError,
		"it fails if the table has a row, and inserts of the previous release, which do not know the column, fail too",
	},
	{
		"revoke", SeverityWarning,
		"instances that connect as the role lose the right at once, in the middle of their work",
	},
	{
		"row-security-without-policy", SeverityError,
		"without a policy, roles other than the owner see no rows and insert none",
	},
	{
		"scan-while-locked", SeverityError,
		"the scan takes as long as the table is large, and queries wait for the lock that long",
	},
	{
		"sequence-reset", SeverityWarning,
		"numbers that rows already have may be given out again: inserts fail, and a setval is not rolled back",
	},
	{"set-not-null", SeverityError, "every row is checked while ACCESS EXCLUSIVE blocks reads and writes"},
	{
		"several-tables-locked", SeverityWarning,
		"each lock is held while the next is waited for: queries on all of them stop, and queries that lock " +
			"in another order deadlock",
	},
	{"table-rewrite", SeverityError, "every row is rewritten while ACCESS EXCLUSIVE blocks reads and writes"},
	{
		"trigger-left", SeverityWarning,
		"every insert and update that runs the trigger fails",
	},
	{
		"truncate", SeverityError,
		"the rows are gone, and ACCESS EXCLUSIVE blocks reads and writes until the transaction ends",
	},
	{"unique-constraint", SeverityError, "its index is built while ACCESS EXCLUSIVE blocks reads and writes"},
	{"unknown-rule", SeverityError, "a comment that names no rule allows nothing"},
	{"unused-allow", SeverityError, "a comment that allows nothing hides what a later edit does"},
	{"vacuum-full", SeverityError, "the table is rewritten while ACCESS EXCLUSIVE blocks reads and writes"},
	{
		"validate-in-same-transaction", SeverityError,
		"the locks of the statements before are held while every row is checked: NOT VALID gains nothing then",
	},
	{
		"volatile-default", SeverityError,
		"a value is computed for each row: the table is rewritten while ACCESS EXCLUSIVE blocks reads and writes",
	},
	{
		"write-without-where", SeverityError,
		"every row is locked and written in one transaction: queries that write wait, replicas lag, the table doubles",
	},
}
