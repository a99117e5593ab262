package storm

import (
	"container/heap"
	"time"

	"github.com/page-builder/persistence/lab/bench/harness"
)

// scenario is a server that goes at 0, seen by pools that want one connection each.
type scenario struct {
	title    string
	pools    int
	slots    int           // max_connections
	down     time.Duration // until then nobody listens, and the system refuses at once
	recovery time.Duration // after that the server answers 57P03
	hold     time.Duration // a client closes its connection after this; 0: never
}

var scenarios = []scenario{
	{"500 pools, room for 600; 2 s down, 1 s of recovery", 500, 600, 2 * time.Second, time.Second, 0},
	{
		"500 pools, room for 300, each goes after 5 s; 2 s down, 1 s of recovery", 500, 300, 2 * time.Second,
		time.Second, 5 * time.Second,
	},
}

// calculate prints what each backoff makes of the scenarios.
func calculate(r *harness.Report, accept, refuse time.Duration) {
	for _, s := range scenarios {
		var lines [][]string
		for _, b := range backoffs {
			c := &calculation{scenario: s, accept: accept, refuse: refuse, wait: b.wait}
			c.run()
			lines = append(lines, cells(b.name, &c.tally))
		}
		r.Grid("Calculated: "+s.title, head, lines...)
	}
}

// calculation is a server that starts one connection after another, in the order of arrival; a
// refusal takes its time too. The listen queue has no end: it holds one attempt of each pool, and
// PostgreSQL asks for room for twice max_connections.
type calculation struct {
	scenario
	tally
	accept, refuse time.Duration
	wait           func(n int, full bool) time.Duration

	now     time.Duration
	events  events
	queue   []func() // attempts at the server
	busy    bool
	used    int // slots
	most    int // of them at once
	missing int // clients that were never connected
}

type event struct {
	at time.Duration
	do func()
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(a, b int) bool { return e[a].at < e[b].at }
func (e events) Swap(a, b int)      { e[a], e[b] = e[b], e[a] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

func (c *calculation) after(d time.Duration, do func()) { heap.Push(&c.events, event{c.now + d, do}) }

func (c *calculation) run() {
	c.up, c.missing = int(c.down/window), c.pools
	for range c.pools { // all notice at the same moment
		connected := false
		c.after(0, func() { c.try(&connected, 1) })
	}
	for c.missing > 0 {
		e := heap.Pop(&c.events).(event)
		c.now = e.at
		e.do()
	}
	c.allConnected = c.now - c.down - c.recovery
}

// try is a client's nth attempt.
func (c *calculation) try(connected *bool, n int) {
	const roundTrip = time.Millisecond // for a refusal by the system
	c.attempt(c.now)
	waiting := true
	again := func(delay time.Duration, full bool) {
		if waiting {
			waiting = false
			c.after(delay+c.wait(n, full), func() { c.try(connected, n+1) })
		}
	}
	if c.now < c.down {
		again(roundTrip, false)
		return
	}
	c.after(patience, func() {
		if waiting { // the client goes; the server learns of it when its turn comes
			c.other++
			again(0, false)
		}
	})
	c.queue = append(c.queue, func() { c.answer(connected, &waiting, again) })
	if !c.busy {
		c.serve()
	}
}

// serve takes the next attempt of the queue.
func (c *calculation) serve() {
	if c.busy = len(c.queue) > 0; c.busy {
		next := c.queue[0]
		c.queue = c.queue[1:]
		next()
	}
}

func (c *calculation) answer(connected, waiting *bool, again func(time.Duration, bool)) {
	const roundTrip = time.Millisecond
	starting, full := c.now < c.down+c.recovery, c.used >= c.slots
	if starting || full {
		c.after(c.refuse, func() {
			if starting {
				c.starting++
			} else {
				c.full++
			}
			again(roundTrip, !starting)
			c.serve()
		})
		return
	}
	c.used++
	c.most = max(c.most, c.used)
	c.after(c.accept, func() {
		switch {
		case !*waiting:
			c.used-- // the client is gone
		case c.hold > 0:
			c.after(c.hold, func() { c.used-- })
			fallthrough
		default:
			*waiting = false
			if !*connected {
				*connected = true
				c.missing--
			}
		}
		c.serve()
	})
}
