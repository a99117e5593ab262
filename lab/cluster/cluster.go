// Package cluster runs a PostgreSQL cluster on this machine, to try and test programs on a cluster
// that fails over. It starts nodes under Patroni with synchronous replication, etcd, HAProxy and
// PgBouncer, all on loopback, and removes them afterwards. It needs Linux and the Debian packages
// that [Check] names. It installs and configures nothing outside a private directory.
//
//	c, err := cluster.Start(ctx, cluster.Options{})
//	…
//	defer c.Stop()
//	pool, err := pgxpool.New(ctx, c.Env().MultiHost)
//	primary, err := c.Primary(ctx)
//	err = primary.Kill()
package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// Options describes a cluster. The zero value means three nodes with synchronous replication.
type Options struct {
	// Nodes is the number of nodes, at least 2, because writes wait for a synchronous standby.
	// Defaults to 3.
	Nodes int
	// Dir is an empty directory for all files, or one that Start creates. Stop keeps it. If root
	// starts the cluster, the user postgres must be able to enter it. Defaults to a temporary
	// directory, which Stop removes.
	Dir string
	// Async replicates asynchronously, so a failover may lose acknowledged commits. Use it for
	// negative controls.
	Async bool
	// Log receives a line for each step. Defaults to none.
	Log io.Writer
}

// Cluster is a running cluster. Its methods are safe for concurrent use.
type Cluster struct {
	opts     Options
	dir      string
	owner    pgserver.Owner
	programs programs
	secrets  secrets
	nodes    []*Node
	watchdog *watchdog
	table    string // of nftables, while a node is partitioned

	etcdPort, etcdPeerPort, writerPort, readerPort, poolPort int

	logging sync.Mutex // for opts.Log

	mu                       sync.Mutex // guards what follows
	etcd, haproxy, pgbouncer *process
	stopped                  bool
}

// secrets has the passwords, which are random for each cluster.
type secrets struct{ superuser, replication, rest, app string }

// startLimit limits how long a cluster may take to start: twenty times as long as on an idle
// machine.
const startLimit = 4 * time.Minute

// Start starts a cluster and returns when it is [Cluster.Ready], usually within ten seconds. If
// that takes more than four minutes, or ctx ends first, Start removes everything. Call
// [Cluster.Stop] at the end. If this process dies without it, a watchdog stops the cluster.
//
// The error is a [*MissingError] if a program is not installed.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Nodes < 2 || o.Nodes > 9 {
		return nil, fmt.Errorf("start a cluster: %d nodes; 2 to 9 are possible", o.Nodes)
	}
	c := &Cluster{opts: o, secrets: secrets{rand.Text(), rand.Text(), rand.Text(), rand.Text()}}
	var err error
	if c.programs, err = findPrograms(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("not ready within %s", startLimit))
	defer cancel()
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start a cluster: %w", err), c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	began := time.Now()
	var err error
	if c.owner, err = pgserver.FindOwner(); err != nil {
		return err
	}
	if err := c.makeDir(); err != nil {
		return err
	}
	c.table = "cluster_" + rand.Text()
	if c.watchdog, err = watch(c.dir, c.table, c.programs.nft, c.opts.Dir != ""); err != nil {
		return err
	}
	ports, err := freePorts(5 + 2*c.opts.Nodes)
	if err != nil {
		return err
	}
	c.etcdPort, c.etcdPeerPort, c.writerPort, c.readerPort, c.poolPort = ports[0], ports[1],
		ports[2], ports[3], ports[4]
	for i := range c.opts.Nodes {
		c.nodes = append(c.nodes, c.newNode(i, ports[5+2*i], ports[6+2*i]))
	}
	if err := c.writeFiles(); err != nil {
		return err
	}
	c.say("in %s", c.dir)
	if err := c.StartEtcd(ctx); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.startPatroni(); err != nil {
			return err
		}
	}
	if err := c.RestartHAProxy(ctx); err != nil {
		return err
	}
	if err := c.RestartPgBouncer(ctx); err != nil {
		return err
	}
	if err := c.createDatabase(ctx); err != nil {
		return err
	}
	if err := c.Ready(ctx); err != nil {
		return err
	}
	c.say("ready after %.1f s", time.Since(began).Seconds())
	return nil
}

// makeDir makes the directory. Only the owner of the processes may enter.
func (c *Cluster) makeDir() error {
	if c.opts.Dir == "" {
		dir, err := os.MkdirTemp("", "pgcluster-")
		if err != nil {
			return err
		}
		c.dir = dir
		return c.owner.Chown(dir)
	}
	dir, err := filepath.Abs(c.opts.Dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil { // as /proc shows it
		return err
	}
	if entries, err := os.ReadDir(dir); err != nil {
		return err
	} else if len(entries) > 0 {
		return fmt.Errorf("%s is not empty", dir)
	}
	c.dir = dir
	return errors.Join(os.Chmod(dir, 0o700), c.owner.Chown(dir)) // private
}

// Stop kills all processes of the cluster, including frozen and partitioned ones, and removes its
// files. It may be called more than once.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped || c.watchdog == nil {
		return nil
	}
	c.stopped = true
	if err := c.watchdog.stop(); err != nil {
		return fmt.Errorf("stop the cluster: %w", err)
	}
	for _, p := range []*process{c.etcd, c.haproxy, c.pgbouncer} {
		p.wait()
	}
	for _, n := range c.nodes {
		n.ended()
	}
	c.say("stopped")
	return nil
}

// Nodes returns all nodes in any state.
func (c *Cluster) Nodes() []*Node { return append([]*Node(nil), c.nodes...) }

// Dir returns the directory with the files. The logs of node n1 are in n1/log, the others are
// etcd.log, haproxy.log and pgbouncer.log.
func (c *Cluster) Dir() string { return c.dir }

func (c *Cluster) say(format string, args ...any) {
	if c.opts.Log != nil {
		c.logging.Lock()
		defer c.logging.Unlock()
		fmt.Fprintf(c.opts.Log, "cluster: "+format+"\n", args...)
	}
}
