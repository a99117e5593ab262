package pgerr

// A verdict is what one look at an error says about it.
type verdict struct {
	category Category
	retry    opinion
	wait     opinion
}

// opinion is unknown until an error is recognised: of several joined errors, one that is not
// recognised has no say.
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
	Saturated: true, Shutdown: true, ReadOnly: true, WrongServer: true,
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

// furthest orders the categories of failed attempts to connect by how far the attempt came: what a
// server answered, then what happened on the way to it. Categories that are not listed come after
// all of these.
var furthest = []Category{
	Auth, Permission, Config, TLS, ReadOnly, WrongServer, TooManyConnections, Saturated, StartingUp, Shutdown, Connection, Refused,
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

// merge combines the verdicts on joined errors: the category of the first known one, or while
// connecting of the one that came furthest; yes if at least one says yes and no other says no.
func merge(all []verdict, connecting bool) verdict {
	merged := unknown
	for _, v := range all {
		switch {
		case merged.category == Unknown:
			merged.category = v.category
		case connecting && rank(v.category) < rank(merged.category):
			merged.category = v.category
		}
		merged.retry = merge2(merged.retry, v.retry)
		merged.wait = merge2(merged.wait, v.wait)
	}
	return merged
}

func merge2(a, b opinion) opinion {
	if a == noOpinion {
		return b
	}
	if b == noOpinion {
		return a
	}
	return min(a, b)
}
