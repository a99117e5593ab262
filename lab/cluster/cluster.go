// Package cluster runs a PostgreSQL cluster on this machine, to try and to test programs on one
// that fails over: nodes under Patroni with synchronous replication, etcd, HAProxy and PgBouncer,
// all on loopback, all gone afterwards. It needs Linux and the Debian packages that [Check] names;
// nothing is installed or configured outside a private directory.
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

// Options says what kind of cluster. The zero value is three nodes with synchronous replication.
type Options struct {
	// Nodes is how many; 0 means 3. At least 2: writes wait for a synchronous standby.
	Nodes int
	// Dir is an empty directory for everything, or one to be made; it is kept. Empty means a
	// temporary one, which Stop removes. For root it must be reachable for the user postgres.
	Dir string
	// Async replicates asynchronously: a failover may lose what was acknowledged. For negative
	// controls.
	Async bool
	// Log is told in lines what is done; nil means nobody.
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

// secrets are the passwords, random for each cluster.
type secrets struct{ superuser, replication, rest, app string }

// startLimit is how long a cluster may take: twenty times as long as on a machine that does nothing
// else.
const startLimit = 4 * time.Minute

// Start starts a cluster and returns when it is [Cluster.Ready], within ten seconds or so. If it is
// not within four minutes, or ctx ends before, nothing is left. Call [Cluster.Stop] at the end;
// should this process die without it, a watchdog does the same.
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

// Stop ends all processes of the cluster, frozen and partitioned ones too, at once, and removes its
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

// Nodes returns all nodes, whatever state they are in.
func (c *Cluster) Nodes() []*Node { return append([]*Node(nil), c.nodes...) }

// Dir is where the files are: the logs of node n1 in n1/log, the others' in etcd.log, haproxy.log
// and pgbouncer.log.
func (c *Cluster) Dir() string { return c.dir }

func (c *Cluster) say(format string, args ...any) {
	if c.opts.Log != nil {
		c.logging.Lock()
		defer c.logging.Unlock()
		fmt.Fprintf(c.opts.Log, "cluster: "+format+"\n", args...)
	}
}
