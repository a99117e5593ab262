package cluster

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// database is the name of the application's database and of its role, which owns it.
const database = "app"

// Env has a URL for each way to connect. The URLs contain the password of the role app, which owns
// the database app. The role is not a superuser, but may see the statistics of replication
// (pg_read_all_stats).
type Env struct {
	MultiHost string // all nodes, with target_session_attrs=read-write: the driver looks for the primary
	Writer    string // a port of HAProxy that leads to the primary
	Reader    string // a port of HAProxy that leads to the standbys in turn
	// PgBouncer in transaction mode, connected to Writer. Migrations and LISTEN need another URL.
	Pooled string

	Nodes []string // one for each node, in the order of Cluster.Nodes
}

// Env returns the URLs to connect to. They stay the same until Stop.
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

// Way is one way for a program to connect. The program gets it through its environment only.
type Way struct {
	Name    string
	Environ map[string]string // the variables of pgconfig
}

// Ways returns the three ways to write. All of them can read from standbys too, because
// DATABASE_REPLICA_URLS has the URL of each node: package replica finds out which node is the
// primary and does not read from it.
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
