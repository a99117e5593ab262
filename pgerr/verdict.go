package pgerr

// verdict holds the answers to the three questions about one error.
type verdict struct {
	category Category
	retry    opinion
	wait     opinion
}

// opinion is an answer that may be missing. An error that is not recognized has no opinion, and
// among joined errors no say. The same goes for an error that only follows from another one.
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

func of(c Category) verdict {
	if c == Unknown {
		return unknown
	}
	return verdict{category: c, retry: answer(repeatable[c]), wait: answer(waitable[c])}
}

// furthest orders the categories of failed attempts to connect by how far the attempt came: first
// what a server answered, then what happened on the way to it. Categories that are not listed come
// after all of these.
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

// merge combines the verdicts on joined errors. The category is the first one with an opinion, or
// while connecting the one that came furthest. An answer is yes if at least one error says yes and
// none says no.
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
