package main

import (
	"container/heap"
	"time"
)

// scenario is a server that went at 0, seen by pools that want one connection each.
type scenario struct {
	title    string
	pools    int
	slots    int           // max_connections, without the reserved ones
	down     time.Duration // until then nobody listens: the system refuses at once
	recovery time.Duration // after that the server answers 57P03
	hold     time.Duration // who is connected goes after this; 0: stays
}

var scenarios = []scenario{
	{"500 pools, room for 600; 2 s down, 1 s of recovery", 500, 600, 2 * time.Second, time.Second, 0},
	{
		"500 pools, room for 300, each goes after 5 s; 2 s down, 1 s of recovery", 500, 300, 2 * time.Second,
		time.Second, 5 * time.Second,
	},
}

const (
	// roundTrip is what a refusal by the system takes.
	roundTrip = time.Millisecond
	// patience is pgpool's ConnectTimeout: a client goes then, and the server learns of it when its
	// turn comes.
	patience = 5 * time.Second
)

// calculate prints what each backoff makes of the scenarios, against a server as fast as this
// machine's. The server starts one connection after another, in the order of their arrival; a
// refusal takes its time too. The listen queue has no end: it holds one attempt a pool, and
// PostgreSQL asks for twice max_connections.
func calculate(r *report, speed speed) {
	for _, s := range scenarios {
		printHead(r, "Calculated: "+s.title)
		for _, b := range backoffs {
			c := &calculation{scenario: s, speed: speed, backoff: b, clients: make([]client, s.pools)}
			c.run()
			c.print(r, b.name)
		}
	}
	r.printf("\n")
}

type calculation struct {
	scenario
	speed
	backoff
	tally

	now     time.Duration
	events  events
	clients []client
	queue   []int // of clients at the server
	busy    bool
	used    int // slots
	most    int // of them at once
	missing int // clients that were never connected
}

type client struct {
	tried     int  // attempts
	waiting   bool // for an answer
	connected bool
}

type event struct {
	at     time.Duration
	kind   func(c *calculation, client, attempt int)
	client int
	number int // of the client's attempt
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

func (c *calculation) after(d time.Duration, kind func(*calculation, int, int), client int) {
	heap.Push(&c.events, event{c.now + d, kind, client, c.clients[client].tried})
}

func (c *calculation) run() {
	c.up, c.missing = int(c.down/window), len(c.clients)
	for i := range c.clients {
		c.after(0, (*calculation).tries, i) // all notice in the same moment
	}
	for c.missing > 0 {
		e := heap.Pop(&c.events).(event)
		c.now = e.at
		e.kind(c, e.client, e.number)
	}
	c.allConnected = c.now - c.down - c.recovery
}

func (c *calculation) tries(i, _ int) {
	c.attempt(c.now)
	one := &c.clients[i]
	one.tried++
	if c.now < c.down {
		c.refused++
		c.after(roundTrip+c.wait(one.tried, false), (*calculation).tries, i)
		return
	}
	one.waiting = true
	c.after(patience, (*calculation).goes, i)
	c.queue = append(c.queue, i)
	if !c.busy {
		c.serve()
	}
}

// goes is a client whose patience is at an end.
func (c *calculation) goes(i, attempt int) {
	one := &c.clients[i]
	if !one.waiting || one.tried != attempt {
		return
	}
	one.waiting = false
	c.other++
	c.after(c.wait(one.tried, false), (*calculation).tries, i)
}

// serve takes the next of the queue.
func (c *calculation) serve() {
	if c.busy = len(c.queue) > 0; !c.busy {
		return
	}
	i := c.queue[0]
	c.queue = c.queue[1:]
	switch {
	case c.now < c.down+c.recovery:
		c.after(c.refuse, (*calculation).isStarting, i)
	case c.used >= c.slots:
		c.after(c.refuse, (*calculation).isFull, i)
	default:
		c.used++
		c.most = max(c.most, c.used)
		c.after(c.accept, (*calculation).isThere, i)
	}
}

func (c *calculation) isStarting(i, _ int) {
	c.starting++
	c.again(i, false)
}

func (c *calculation) isFull(i, _ int) {
	c.full++
	c.again(i, true)
}

func (c *calculation) again(i int, full bool) {
	if one := &c.clients[i]; one.waiting {
		one.waiting = false
		c.after(roundTrip+c.wait(one.tried, full), (*calculation).tries, i)
	}
	c.serve()
}

func (c *calculation) isThere(i, _ int) {
	one := &c.clients[i]
	switch {
	case !one.waiting:
		c.used-- // nobody is there any more
	case c.hold > 0:
		c.after(c.hold, func(c *calculation, _, _ int) { c.used-- }, i)
		fallthrough
	default:
		one.waiting = false
		if !one.connected {
			one.connected = true
			c.missing--
		}
	}
	c.serve()
}
