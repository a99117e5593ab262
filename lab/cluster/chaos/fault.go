package chaos

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/page-builder/persistence/lab/cluster"
)

// Kind is a fault that can be injected into a cluster.
type Kind struct {
	Name string
	// Goal is the number of rounds in a full run.
	Goal  int
	make  func(c *cluster.Cluster) Fault
	check func() error // nil: it is possible everywhere
}

// Check returns an [errors.ErrUnsupported] that says why this machine cannot have the fault, or
// nil. No cluster has to run.
func (k Kind) Check() error {
	if k.check == nil {
		return nil
	}
	return k.check()
}

const (
	// frozenFor is longer than a failover takes, so the old primary wakes up while the new one
	// already runs.
	frozenFor = 15 * time.Second
	// standbyGone is long enough for another standby to become the synchronous one.
	standbyGone = 8 * time.Second
	// etcdGone is longer than Patroni's leader key lives: the primary steps down.
	etcdGone = 5 * time.Second
	// choiceLimit limits how long it takes to find the node to break.
	choiceLimit = 30 * time.Second
)

// Kinds returns all kinds of faults. The short form has the first three.
func Kinds() []Kind {
	return []Kind{
		{Name: "kill-primary", Goal: 20, make: killPrimary},
		{Name: "switchover", Goal: 20, make: switchover},
		{Name: "kill-sync-standby", Goal: 20, make: killStandby},
		{Name: "freeze-primary", Goal: 20, make: freezePrimary},
		{Name: "partition", Goal: 5, make: partition, check: cluster.CheckPartition},
		{Name: "lose-etcd", Goal: 5, make: loseEtcd},
		{Name: "restart-pgbouncer", Goal: 5, make: func(c *cluster.Cluster) Fault {
			return Fault{Inject: c.RestartPgBouncer}
		}},
		{Name: "restart-haproxy", Goal: 5, make: func(c *cluster.Cluster) Fault {
			return Fault{Inject: c.RestartHAProxy}
		}},
	}
}

// On returns the fault for a cluster.
func (k Kind) On(c *cluster.Cluster) Fault {
	fault := k.make(c)
	fault.Name = k.Name
	return fault
}

// on returns a fault of the node that choose finds at injection time.
func on(
	choose func(context.Context) (*cluster.Node, error), inject func(context.Context, *cluster.Node) error,
	repair func(context.Context, *cluster.Node) error,
) Fault {
	var node *cluster.Node
	return Fault{
		Inject: func(ctx context.Context) (err error) {
			if node, err = found(ctx, choose); err != nil {
				return err
			}
			return inject(ctx, node)
		},
		Repair: func(ctx context.Context) error { return repair(ctx, node) },
	}
}

func found(ctx context.Context, choose func(context.Context) (*cluster.Node, error)) (*cluster.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, choiceLimit)
	defer cancel()
	for {
		node, err := choose(ctx)
		if err == nil && node != nil {
			return node, nil
		}
		if sleep(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return nil, fmt.Errorf("no such node: %w", err)
		}
	}
}

func restart(ctx context.Context, n *cluster.Node) error { return n.Restart(ctx) }

func killPrimary(c *cluster.Cluster) Fault {
	f := on(c.Primary, func(_ context.Context, n *cluster.Node) error { return n.Kill() }, restart)
	f.Heals = true
	return f
}

func killStandby(c *cluster.Cluster) Fault {
	f := on(c.SyncStandby, func(_ context.Context, n *cluster.Node) error { return n.Kill() }, restart)
	f.Hold, f.Heals = standbyGone, true
	return f
}

func freezePrimary(c *cluster.Cluster) Fault {
	f := on(c.Primary, func(_ context.Context, n *cluster.Node) error { return n.Freeze() },
		func(_ context.Context, n *cluster.Node) error { return n.Thaw() })
	f.Hold = frozenFor
	return f
}

func partition(c *cluster.Cluster) Fault {
	f := on(c.Primary, func(_ context.Context, n *cluster.Node) error { return n.Partition() },
		func(_ context.Context, n *cluster.Node) error { return n.Heal() })
	f.Hold = frozenFor
	return f
}

func switchover(c *cluster.Cluster) Fault {
	return Fault{Inject: func(ctx context.Context) error {
		to, err := found(ctx, c.SyncStandby)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, recoverLimit)
		defer cancel()
		return c.Switchover(ctx, to)
	}}
}

func loseEtcd(c *cluster.Cluster) Fault {
	return Fault{
		Inject: func(context.Context) error { return c.StopEtcd() },
		Hold:   etcdGone,
		Repair: c.StartEtcd,
	}
}

// Via is a way for the services to connect.
type Via string

// The ways.
const (
	Writer    Via = "writer"    // HAProxy's port
	MultiHost Via = "multihost" // all nodes, target_session_attrs=read-write
	Pooled    Via = "pooled"    // PgBouncer
)

// SystemOf is a cluster with services that connect in one of the ways.
func SystemOf(c *cluster.Cluster, via Via) (System, error) {
	env := c.Env()
	environ := map[string]string{
		"DIRECT_DATABASE_URL": env.MultiHost, "DATABASE_REPLICA_URLS": strings.Join(env.Nodes, ","),
	}
	switch via {
	case Writer:
		environ["DATABASE_URL"] = env.Writer
	case MultiHost:
		environ["DATABASE_URL"] = env.MultiHost
	case Pooled:
		environ["DATABASE_URL"], environ["DATABASE_PGBOUNCER"] = env.Pooled, "on"
	default:
		return System{}, fmt.Errorf("unknown way %q: take writer, multihost or pooled", via)
	}
	return System{
		Environ: environ,
		Nodes:   env.Nodes,
		Primary: func(ctx context.Context) (string, error) {
			node, err := found(ctx, c.Primary)
			if err != nil {
				return "", err
			}
			return node.URL, nil
		},
		Ready: c.Ready,
		Mend:  c.Reinit,
	}, nil
}
