package cluster

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// database is the name of the application's database and of its role, which owns it.
const database = "app"

// Env is the ways to connect, as URLs. They contain the password of the role app, which owns the
// database app; it is not a superuser, but may see the statistics of replication
// (pg_read_all_stats).
type Env struct {
	MultiHost string // all nodes, with target_session_attrs=read-write: the driver looks for the primary
	Writer    string // a port of HAProxy that leads to the primary
	Reader    string // a port of HAProxy that leads to the standbys in turn
	// PgBouncer in transaction mode, on the writer's port; migrations and LISTEN need one of the
	// others.
	Pooled string

	Nodes []string // each node's own, in the order of Cluster.Nodes
}

// Env returns the ways to connect. They stay the same until Stop.
func (c *Cluster) Env() Env {
	var hosts []string
	env := Env{Writer: c.url(c.writerPort), Reader: c.url(c.readerPort), Pooled: c.url(c.poolPort)}
	for _, n := range c.nodes {
		hosts = append(hosts, address(n.port))
		env.Nodes = append(env.Nodes, n.URL)
	}
	env.MultiHost = c.urlOf(strings.Join(hosts, ",")) + "&target_session_attrs=read-write"
	return env
}

func (c *Cluster) url(port int) string { return c.urlOf(address(port)) }

func (c *Cluster) urlOf(hosts string) string {
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", url.UserPassword(database, c.secrets.app),
		hosts, database)
}

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// Way is how a program is told to connect: by nothing but its environment.
type Way struct {
	Name    string
	Environ map[string]string // the variables of pgconfig
}

// Ways returns the three ways to write. Each node's own URL in DATABASE_REPLICA_URLS adds reading
// from standbys to any of them: package replica finds out which is the primary, and does not read
// from that.
func (e Env) Ways() []Way {
	return []Way{
		{"several hosts", map[string]string{"DATABASE_URL": e.MultiHost}},
		{"HAProxy", map[string]string{"DATABASE_URL": e.Writer}},
		{
			"PgBouncer", map[string]string{
				"DATABASE_URL": e.Pooled, "DATABASE_PGBOUNCER": "true", "DIRECT_DATABASE_URL": e.Writer,
			},
		},
	}
}
