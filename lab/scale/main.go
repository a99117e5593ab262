// Command scale calculates what a number of service instances need of PostgreSQL and PgBouncer. It
// measures nothing. Its assumptions are flags, and it prints them.
//
//	go run . [-max-conns 10] [-cores 16] … [INSTANCES…]
//
// Without arguments it prints 100, 1,000 and 10,000 instances. The exit status is 2 for a wrong
// call.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "scale:", err)
		}
		os.Exit(2)
	}
}

func run(args []string, out io.Writer) error {
	a := assumptions()
	flags := flag.NewFlagSet("scale", flag.ContinueOnError)
	flags.SetOutput(out)
	a.register(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := a.validate(); err != nil {
		return err
	}
	fleets := []int{100, 1_000, 10_000}
	if flags.NArg() > 0 {
		fleets = nil
	}
	for _, arg := range flags.Args() {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 || n > 10_000_000 {
			return fmt.Errorf("%q is not a number of instances from 1 to 10,000,000", arg)
		}
		fleets = append(fleets, n)
	}
	return write(out, a, fleets)
}

// need holds the figures of one fleet, including the instances that a deployment adds.
type need struct {
	instances int
	all       int // with the surge

	directConns   int           // max_connections without a pooler
	directMemory  float64       // GB, of the server's backends
	poolerClients int           // max_client_conn of all PgBouncer processes together
	poolers       int           // PgBouncer processes
	serverConns   int           // held open by those poolers: their default_pool_size together
	listeners     int           // connections that cannot go through a pooler
	pooledConns   int           // max_connections with the poolers
	pooledMemory  float64       // GB
	statements    float64       // a second for each instance, if the server has no more connections
	probes        float64       // a second
	renewals      float64       // connections a second that replace old ones
	login         time.Duration // of all instances, if they start at once
}

func (a assumption) need(instances int) need {
	n := need{instances: instances, all: ceil(float64(instances) * (1 + a.surge))}
	n.listeners = n.all * a.listeners
	n.poolerClients = n.all * (a.maxConns + a.probeConns)
	n.poolers = ceil(float64(n.poolerClients) / float64(a.poolerClients))
	n.serverConns = max(n.poolers, ceil(float64(a.cores)*a.perCore))
	n.directConns = n.poolerClients + n.listeners + a.spare
	n.pooledConns = n.serverConns + n.listeners + a.spare
	n.directMemory = float64(n.directConns) * a.backendMB / 1000
	n.pooledMemory = float64(n.pooledConns) * a.backendMB / 1000
	n.statements = float64(n.serverConns) / float64(instances) / a.statement.Seconds()
	n.probes = float64(n.all) / a.probeEvery.Seconds()
	n.renewals = float64(n.all*a.maxConns) / a.lifetime.Seconds()
	opened := float64(instances * (a.minIdle + a.probeConns + a.listeners))
	n.login = time.Duration(opened / a.loginRate * float64(time.Second)).Round(time.Second)
	return n
}

func ceil(x float64) int {
	n := int(x)
	if float64(n) < x {
		n++
	}
	return n
}

func write(out io.Writer, a assumption, fleets []int) error {
	fmt.Fprintln(out, "Assumptions, each of them a flag:")
	w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	for _, line := range a.lines() {
		fmt.Fprintln(w, "  "+line)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)

	needs := make([]need, len(fleets))
	for i, n := range fleets {
		needs[i] = a.need(n)
	}
	row := func(name string, value func(need) string) {
		cells := make([]string, 0, len(needs)+1)
		cells = append(cells, name)
		for _, n := range needs {
			cells = append(cells, value(n))
		}
		fmt.Fprintln(out, "| "+strings.Join(cells, " | ")+" |")
	}
	row("instances", func(n need) string { return group(n.instances) })
	fmt.Fprintln(out, "|---|"+strings.Repeat("--:|", len(needs)))
	row("with those that a deployment adds", func(n need) string { return group(n.all) })
	row("direct: `max_connections`", func(n need) string { return group(n.directConns) })
	row("direct: memory of the backends", func(n need) string { return gigabytes(n.directMemory) })
	row("PgBouncer: processes", func(n need) string { return group(n.poolers) })
	row("PgBouncer: `max_client_conn`, all together", func(n need) string { return group(n.poolerClients) })
	row("PgBouncer: server connections, all together", func(n need) string { return group(n.serverConns) })
	row("LISTEN, past PgBouncer", func(n need) string { return group(n.listeners) })
	row("PgBouncer: `max_connections`", func(n need) string { return group(n.pooledConns) })
	row("PgBouncer: memory of the backends", func(n need) string { return gigabytes(n.pooledMemory) })
	row("statements a second that each instance may send", func(n need) string { return rate(n.statements) })
	row("health checks a second", func(n need) string { return rate(n.probes) })
	row("connections renewed a second", func(n need) string { return rate(n.renewals) })
	row("all start at once: logins take", func(n need) string { return n.login.String() })
	return nil
}

func gigabytes(x float64) string {
	if x < 10 {
		return fmt.Sprintf("%.1f GB", x)
	}
	return group(int(x+0.5)) + " GB"
}

func rate(x float64) string {
	if x < 10 {
		return fmt.Sprintf("%.1f", x)
	}
	return group(int(x + 0.5))
}

// group writes 1234567 as 1,234,567.
func group(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
