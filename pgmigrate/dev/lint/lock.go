package lint

// lockMode is a table lock, weakest first.
type lockMode int

const (
	noLock lockMode = iota
	accessShare
	rowShare
	rowExclusive
	shareUpdateExclusive
	share // from here on writes are blocked
	shareRowExclusive
	exclusive
	accessExclusive // reads too
)

var lockModes = map[string]lockMode{
	"AccessShareLock": accessShare, "RowShareLock": rowShare, "RowExclusiveLock": rowExclusive,
	"ShareUpdateExclusiveLock": shareUpdateExclusive, "ShareLock": share, "ShareRowExclusiveLock": shareRowExclusive,
	"ExclusiveLock": exclusive, "AccessExclusiveLock": accessExclusive,
}

var lockNames = [...]string{
	"none", "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE",
	"EXCLUSIVE", "ACCESS EXCLUSIVE",
}

func (m lockMode) String() string { return lockNames[m] }

// blocksWrites reports whether INSERT, UPDATE and DELETE wait for it.
func (m lockMode) blocksWrites() bool { return m >= share }

// blocks reports whether queries of the table wait for the lock. A materialized view is only read.
func blocks(r *relation, m lockMode) bool {
	if r.Kind == "m" {
		return m == accessExclusive
	}
	return r.table() && m.blocksWrites()
}
