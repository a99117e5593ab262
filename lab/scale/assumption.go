package main

import (
	"errors"
	"flag"
	"fmt"
	"time"
)

// assumption is an input of the calculation.
type assumption struct {
	maxConns, minIdle     int
	probeConns, listeners int
	spare                 int
	cores                 int
	perCore               float64
	statement             time.Duration
	backendMB             float64
	poolerClients         int
	probeEvery, lifetime  time.Duration
	surge, loginRate      float64
}

// assumptions returns the defaults. Settings of pgconfig have their defaults for production.
func assumptions() assumption {
	return assumption{
		maxConns: 10, minIdle: 2, probeConns: 1, listeners: 1, spare: 8,
		cores: 16, perCore: 2.5, statement: 5 * time.Millisecond, backendMB: 2.4,
		poolerClients: 5_000, probeEvery: 10 * time.Second, lifetime: 31*time.Minute + 30*time.Second,
		surge: 0.25, loginRate: 82,
	}
}

func (a *assumption) register(flags *flag.FlagSet) {
	flags.IntVar(&a.maxConns, "max-conns", a.maxConns, "pool connections of an instance (DATABASE_POOL_MAX_CONNS)")
	flags.IntVar(&a.minIdle, "min-idle", a.minIdle, "connections it opens at start (DATABASE_POOL_MIN_IDLE_CONNS)")
	flags.IntVar(&a.probeConns, "probe-conns", a.probeConns, "connections of its health check (pghealth)")
	flags.IntVar(&a.listeners, "listeners", a.listeners, "connections that LISTEN (pgpool/listen)")
	flags.IntVar(&a.spare, "spare", a.spare, "connections for migrations, people and superuser_reserved_connections")
	flags.IntVar(&a.cores, "cores", a.cores, "cores of the server")
	flags.Float64Var(&a.perCore, "per-core", a.perCore, "server connections of PgBouncer for each of them")
	flags.DurationVar(&a.statement, "statement", a.statement, "how long a statement takes, idle time included")
	flags.Float64Var(&a.backendMB, "backend-mb", a.backendMB, "MB of a backend; measure your own")
	flags.IntVar(&a.poolerClients, "pooler-clients", a.poolerClients, "clients of a PgBouncer process")
	flags.DurationVar(&a.probeEvery, "probe-every", a.probeEvery, "time between two health checks of an instance")
	flags.DurationVar(&a.lifetime, "lifetime", a.lifetime, "mean age at which a connection is replaced")
	flags.Float64Var(&a.surge, "surge", a.surge, "share of new instances that a deployment runs beside the old ones")
	flags.Float64Var(&a.loginRate, "login-rate", a.loginRate, "logins a second of server or poolers; measure your own")
}

func (a assumption) validate() error {
	switch {
	case a.maxConns < 1, a.minIdle < 0, a.minIdle > a.maxConns, a.probeConns < 0, a.listeners < 0, a.poolerClients < 1:
		return errors.New("a number of connections is out of range")
	case a.spare < 0, a.cores < 1, a.perCore <= 0, a.statement <= 0:
		return errors.New("-spare, -cores, -per-core or -statement is out of range")
	case a.backendMB <= 0, a.probeEvery <= 0, a.lifetime <= 0, a.surge < 0, a.loginRate <= 0:
		return errors.New("a time, size, rate or share is out of range")
	}
	return nil
}

// lines returns the assumptions, aligned by a tabwriter.
func (a assumption) lines() []string {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	a.register(flags)
	var lines []string
	flags.VisitAll(func(f *flag.Flag) { lines = append(lines, fmt.Sprintf("-%s %s\t%s", f.Name, f.Value, f.Usage)) })
	return lines
}
