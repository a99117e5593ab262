package fault

// Cut says where a [Proxy] breaks a connection that it meets a request on.
type Cut int

// The places of a cut. Where the answer of the server is cut, the server has done what was asked.
//
// The last two end the connection for the client only, as a firewall that forgets it: the server
// keeps its session, gets no cancel request for it, and answers nobody.
const (
	Pass          Cut = iota // do not break it
	BeforeRequest            // the server never sees the request
	InRequest                // the server sees half of the request
	BeforeAnswer             // the client sees nothing of the answer
	InAnswer                 // the client sees a part of the answer, at random
	HoldRequest              // like BeforeRequest, but the connection stays open and silent
	HoldAnswer               // like BeforeAnswer, but the connection stays open and silent

	AbandonRequest // the server never sees the request, nor that the client is gone
	AbandonAnswer  // the server sees the request, not that the client is gone before the answer
)

// Request is what a client asks the server to run: a simple query, or one execution of a prepared
// statement.
type Request struct {
	PID    uint32 // of the server's process, as in pgconn's PID
	SQL    string // as the client sent it; a simple query may have several statements
	Commit bool   // one of the statements is COMMIT or END
}

// OnRequest makes the proxy call decide before each request reaches the server, and do what it
// returns. decide must not wait for the same connection; it may be called concurrently for several
// ones. Nil ends that. [Proxy.CutCommits] acts on the requests that decide lets pass.
func (p *Proxy) OnRequest(decide func(Request) Cut) {
	p.mustRead()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onAsk = decide
}

// CutCommits cuts the next n COMMITs, or all from now on if n is negative. Where the answer is cut,
// the transaction is committed: a COMMIT that the server refuses, or turns into a rollback, does
// not count and passes with its answer. Only AbandonAnswer does not wait to see that.
func (p *Proxy) CutCommits(n int, where Cut) {
	p.mustRead()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commits, p.commitAt = n, where
}

func (p *Proxy) mustRead() {
	if p.opts.Raw {
		p.t.Errorf("fault: a raw proxy does not see requests, and cannot cut them")
	}
}

// plan is what happens to one request.
type plan struct {
	where  Cut
	refund func() // not nil: a COMMIT that the server refuses passes, and this is called
}

func (p *Proxy) plan(r Request) plan {
	p.mu.Lock()
	decide := p.onAsk
	if r.Commit {
		p.stats.Commits++
	}
	p.mu.Unlock()
	if decide != nil {
		if where := decide(r); where != Pass {
			return plan{where: where}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !r.Commit || p.commits == 0 {
		return plan{}
	}
	if p.commits < 0 {
		return plan{p.commitAt, func() {}}
	}
	p.commits--
	return plan{p.commitAt, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.commits++
	}}
}

// tracker knows what SQL the messages of a client run.
type tracker struct {
	statements, portals map[string]string // SQL by name
}

// request returns the request that a message makes, if it makes one.
func (t *tracker) request(m message) (Request, bool) {
	switch m.kind() {
	case 'Q':
		sql := m.strings(1)[0]
		return Request{SQL: sql, Commit: commits(sql)}, true
	case 'P': // Parse: the statement's name, SQL
		names := m.strings(2)
		t.statements[names[0]] = names[1]
	case 'B': // Bind: the portal's name, the statement's name
		names := m.strings(2)
		t.portals[names[0]] = t.statements[names[1]]
	case 'E': // Execute: the portal's name
		sql := t.portals[m.strings(1)[0]]
		return Request{SQL: sql, Commit: commits(sql)}, true
	case 'C': // Close: S or P, name
		switch name := m.strings(1)[0]; {
		case name != "" && name[0] == 'S':
			delete(t.statements, name[1:])
		case name != "":
			delete(t.portals, name[1:])
		}
	}
	return Request{}, false
}
