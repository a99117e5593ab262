package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// Node is a PostgreSQL server with the Patroni that manages it. Its methods are safe for concurrent
// use.
type Node struct {
	Name string // n1, n2, …
	URL  string // of this node in any role; contains the password

	c          *Cluster
	dir        string
	port, rest int
	owner      pgserver.Owner

	mu      sync.Mutex // guards what follows
	patroni *process
	cut     bool
}

func (c *Cluster) newNode(i, port, rest int) *Node {
	name := "n" + strconv.Itoa(i+1)
	return &Node{
		Name: name, URL: c.url(port), c: c, dir: filepath.Join(c.dir, name), port: port,
		rest: rest, owner: withOwnGroup(c.owner),
	}
}

func (n *Node) data() string { return filepath.Join(n.dir, "data") }
func (n *Node) log() string  { return filepath.Join(n.dir, "log") }

// String returns the name, so that a node in an error or a log line shows no password.
func (n *Node) String() string { return n.Name }

// startPatroni starts Patroni unless it runs. Patroni starts PostgreSQL, or takes over one that is
// running.
func (n *Node) startPatroni() error {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.c.stopped {
		return errStopped
	}
	if n.patroni.running() {
		return nil
	}
	p, err := n.c.run(n.owner, n.dir, n.log(), n.c.programs.patroni, filepath.Join(n.dir, "patroni.yml"))
	if err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	n.patroni = p
	return nil
}

// ended waits for Patroni to end.
func (n *Node) ended() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.patroni.wait()
}

// Kill kills Patroni and all PostgreSQL processes with kill -9, as if the machine had lost power.
// [Node.Restart] brings the node back.
func (n *Node) Kill() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.c.say("kill -9 %s", n.Name)
	n.patroni.end(syscall.SIGKILL) // first, or it would start PostgreSQL again
	return n.killed(n.dir)
}

// KillPostgres kills all PostgreSQL processes with kill -9. Patroni survives and starts PostgreSQL
// again, or another node takes over.
func (n *Node) KillPostgres() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.c.say("kill -9 PostgreSQL of %s", n.Name)
	return n.killed(n.data())
}

func (n *Node) killed(dir string) error {
	if err := signalAll(dir, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", n.Name, err)
	}
	return nil
}

// Restart starts Patroni again after [Node.Kill] and waits until it answers. It does nothing to a
// running node. [Cluster.Ready] waits until the node takes part again.
func (n *Node) Restart(ctx context.Context) error {
	n.c.say("start %s", n.Name)
	if err := n.startPatroni(); err != nil {
		return err
	}
	n.mu.Lock()
	patroni := n.patroni
	n.mu.Unlock()
	err := poll(ctx, func() error {
		if err := patroni.failed(); err != nil {
			return final{err}
		}
		_, err := n.is(ctx, "/liveness")
		return err
	})
	if err != nil {
		return fmt.Errorf("restart %s: %w", n.Name, err)
	}
	return nil
}

// Freeze stops all processes of the node (SIGSTOP): connections stay open, and nothing answers.
// [Node.Thaw] continues them, and so does [Cluster.Stop].
func (n *Node) Freeze() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.c.say("freeze %s", n.Name)
	if err := signalAll(n.dir, syscall.SIGSTOP); err != nil {
		return errors.Join(fmt.Errorf("freeze %s: %w", n.Name, err), signalAll(n.dir, syscall.SIGCONT))
	}
	return nil
}

// Thaw undoes [Node.Freeze].
func (n *Node) Thaw() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.c.say("thaw %s", n.Name)
	if err := signalAll(n.dir, syscall.SIGCONT); err != nil {
		return fmt.Errorf("thaw %s: %w", n.Name, err)
	}
	return nil
}

// withOwnGroup returns the same user in a group of its own, by which the packet filter recognizes
// the node's processes. Only root can set the group of a process, and only root can filter.
func withOwnGroup(o pgserver.Owner) pgserver.Owner {
	if !o.IsCaller() {
		o.GID = 1<<30 + rand.IntN(1<<29)
	}
	return o
}
