package cluster

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
)

// haproxySettings returns HAProxy's configuration. Its checks ask Patroni for each node's role
// several times a second, and close the sessions with a node that lost its role. Without that,
// clients would wait for an answer until TCP times out. A new HAProxy loads the state that the old
// one saved; otherwise it takes every node for the primary until two checks have failed.
func (c *Cluster) haproxySettings() string {
	var b strings.Builder
	fmt.Fprintf(&b, `global
	maxconn 2000
	log stdout format raw local0 notice
	stats socket %s mode 600 level admin
	server-state-file %s
defaults
	mode tcp
	log global
	load-server-state-from-file global
	timeout connect 2s
	timeout client 1h
	timeout server 1h
	timeout check 1s
	option clitcpka
	option srvtcpka
	default-server inter 500ms fastinter 200ms downinter 200ms fall 2 rise 1 on-marked-down shutdown-sessions
`, c.haproxySocket(), c.haproxyState())
	for _, port := range []struct {
		name, role string
		port       int
	}{{"writer", "/primary", c.writerPort}, {"reader", "/replica", c.readerPort}} {
		fmt.Fprintf(&b, "listen %s\n\tbind %s\n\tbalance roundrobin\n\toption httpchk OPTIONS %s\n\thttp-check "+
			"expect status 200\n",
			port.name, address(port.port), port.role)
		for _, n := range c.nodes {
			fmt.Fprintf(&b, "\tserver %s %s check port %d\n", n.Name, address(n.port), n.rest)
		}
	}
	return b.String()
}

func (c *Cluster) pgbouncerSettings() string {
	return fmt.Sprintf(`[databases]
%[1]s = host=127.0.0.1 port=%[2]d dbname=%[1]s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %[3]d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %[4]s
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 20
; the default of 15 s would keep clients out for longer than a failover takes
server_login_retry = 0.2
ignore_startup_parameters = extra_float_digits
`, database, c.writerPort, c.poolPort, filepath.Join(c.dir, "pgbouncer.users"))
}

func (c *Cluster) haproxySocket() string { return filepath.Join(c.dir, "haproxy.sock") }
func (c *Cluster) haproxyState() string  { return filepath.Join(c.dir, "haproxy.state") }

// RestartHAProxy ends HAProxy and all connections through it, and starts it again. As a service
// unit does, it saves HAProxy's state of the nodes first, so that the new process leads to the
// primary at once. It returns when HAProxy listens.
func (c *Cluster) RestartHAProxy(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.haproxy.running() {
		if err := c.saveHAProxyState(ctx); err != nil {
			return fmt.Errorf("save HAProxy's state: %w", err)
		}
	}
	return c.restart(ctx, &c.haproxy, c.writerPort, syscall.SIGTERM, "haproxy.log",
		c.programs.haproxy, "-db", "-f", filepath.Join(c.dir, "haproxy.cfg"))
}

func (c *Cluster) saveHAProxyState(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, restLimit)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.haproxySocket())
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "show servers state\n"); err != nil {
		return err
	}
	state, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	return c.writeFile(filepath.Base(c.haproxyState()), string(state))
}

// RestartPgBouncer ends PgBouncer and all connections through it, and starts it again. It returns
// when PgBouncer listens.
func (c *Cluster) RestartPgBouncer(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restart(ctx, &c.pgbouncer, c.poolPort, syscall.SIGTERM, "pgbouncer.log",
		c.programs.pgbouncer, filepath.Join(c.dir, "pgbouncer.ini"))
}

// restart ends a program if it runs, starts it, and waits until it listens.
func (c *Cluster) restart(
	ctx context.Context, p **process, port int, end syscall.Signal, log, program string, args ...string,
) error {
	if c.stopped {
		return errStopped
	}
	name := filepath.Base(program)
	(*p).end(end)
	c.say("start %s", name)
	started, err := c.run(c.owner, c.dir, filepath.Join(c.dir, log), program, args...)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	*p = started
	err = poll(ctx, func() error {
		if err := started.failed(); err != nil {
			return final{err}
		}
		conn, err := net.Dial("tcp", address(port))
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return nil
}
