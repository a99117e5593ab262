package pgerr

// verdict holds the answers to the three questions about one error.
type verdict struct {
	category Category
	retry    opinion
	wait     opinion
}

// opinion is an answer that may be missing. An unrecognized error has no opinion, and neither does
// an error that only follows from another one. Such errors have no say among joined errors.
type opinion int8

const (
	noOpinion opinion = iota
	no
	yes
)

func answer(b bool) opinion {
	if b {
		return yes
	}
	return no
}

var unknown = verdict{category: Unknown}

// waitable are the categories worth waiting for at start-up.
var waitable = map[Category]bool{
	DNS: true, Refused: true, Connection: true, Timeout: true, StartingUp: true, TooManyConnections: true,
	Saturated: true, Shutdown: true, ReadOnly: true, WrongServer: true, Lagging: true,
}

// repeatable are the categories for which an error that states only its category is retryable.
var repeatable = map[Category]bool{
	Serialization: true, Deadlock: true, Connection: true, Shutdown: true, StartingUp: true, TooManyConnections: true,
}

func verdictFor(c Category) verdict {
	if c == Unknown {
		return unknown
	}
	return verdict{category: c, retry: answer(repeatable[c]), wait: answer(waitable[c])}
}

// furthest orders the categories of failed attempts to connect by how far the attempt got: first
// the answers of a server, then failures on the way to it. Categories that are not listed come
// last.
var furthest = []Category{
	Auth, Permission, Config, TLS, ReadOnly, WrongServer, TooManyConnections, Saturated, StartingUp, Shutdown,
	Connection, Refused,
	Timeout, DNS, Canceled,
}

func rank(c Category) int {
	for i, f := range furthest {
		if c == f {
			return i
		}
	}
	if c == Unknown {
		return len(furthest) + 1
	}
	return len(furthest)
}

// merge combines the verdicts on joined errors. The first error with an opinion gives the category;
// while connecting, the attempt that got furthest does. An answer is yes if at least one error says
// yes and none says no.
func merge(all []verdict, connecting bool) verdict {
	merged := unknown
	for _, v := range all {
		switch {
		case connecting:
			if rank(v.category) < rank(merged.category) {
				merged.category = v.category
			}
		case merged.category == Unknown, merged.retry == noOpinion && v.retry != noOpinion:
			merged.category = v.category
		}
		merged.retry = mergeOpinions(merged.retry, v.retry)
		merged.wait = mergeOpinions(merged.wait, v.wait)
	}
	return merged
}

func mergeOpinions(a, b opinion) opinion {
	if a == noOpinion {
		return b
	}
	if b == noOpinion {
		return a
	}
	return min(a, b)
}
