package pgtest

import (
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// Switch stands between a program and a database and breaks the connection on demand, to test what
// the program does then. The faults act on every connection made with URL, present ones too; Heal
// ends them. It is safe for concurrent use.
//
// A [fault.Proxy] does the work, and can do more.
type Switch struct{ proxy *fault.Proxy }

// Cut puts a switch in front of the database that connString names: [URL]'s result, or
// pool.Config().ConnString(). It listens on a Unix socket until the test ends. The switch offers no
// TLS, and reaches the server with TLS if connString says so.
func Cut(t TB, connString string) *Switch {
	t.Helper()
	return &Switch{fault.NewProxy(t, connString, fault.Options{Unix: true})}
}

// URL leads to the database through the switch. It contains the password if there is one.
func (s *Switch) URL() string { return s.proxy.URL() }

// Refuse ends all connections and refuses new ones, like a server that is down.
func (s *Switch) Refuse() { s.proxy.Refuse() }

// Sever ends all connections, whatever they are doing. New ones are not affected.
func (s *Switch) Sever() { s.proxy.Sever() }

// BlackHole lets nothing pass in either direction, and closes nothing: a frozen server, or a
// network that drops packets. New connections are accepted and get no answer. After Heal, what was
// held up goes on.
func (s *Switch) BlackHole() { s.proxy.Freeze(fault.Both) }

// Delay holds up every request for d, those of a new connection included. Zero ends that.
func (s *Switch) Delay(d time.Duration) { s.proxy.Delay(fault.ToServer, d) }

// CutCommits lets the next n COMMITs reach the server, waits for them to be done, and then ends the
// connection instead of passing on the answer: the program cannot know whether its transaction was
// committed. It was. A COMMIT that the server refuses does not count, and passes with its answer.
func (s *Switch) CutCommits(n int) { s.proxy.CutCommits(max(n, 0), fault.BeforeAnswer) }

// Heal ends all faults. Connections that were ended stay ended. The error is always nil: a switch
// that cannot listen again fails the test.
func (s *Switch) Heal() error {
	s.proxy.Heal()
	return nil
}
