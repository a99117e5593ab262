package cluster

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// settings become JSON, which is also YAML and has only one way to quote.
type settings = map[string]any

// patroniSettings returns a node's configuration.
func (c *Cluster) patroniSettings(n *Node) settings {
	return settings{
		"scope": "kit",
		"name":  n.Name,
		"restapi": settings{
			"listen": address(n.rest), "connect_address": address(n.rest),
			// Required for changes. Other users of this machine may read.
			"authentication": settings{"username": "cluster", "password": c.secrets.rest},
		},
		// Use version 2 of etcd's API. With version 3, Patroni 3.0 writes the leader's key without
		// a condition: a frozen leader that thaws takes the key from its successor, and the
		// successor's commits are lost, even synchronous ones.
		"etcd": settings{"host": address(c.etcdPort)},
		"bootstrap": settings{
			"dcs": settings{
				// The shortest values that work: the others give a leader up after 5 s. Patroni's
				// defaults are 30, 10 and 10.
				"ttl": 5, "loop_wait": 1, "retry_timeout": 2,
				"maximum_lag_on_failover": 1 << 20,
				"synchronous_mode":        !c.opts.Async, "synchronous_mode_strict": !c.opts.Async,
				"postgresql": settings{
					"use_pg_rewind": true, "use_slots": true,
					"parameters": settings{
						"max_connections": 200, "shared_buffers": "32MB", "wal_log_hints": "on",
						"wal_keep_size":   "256MB",
						"max_wal_senders": 10, "max_replication_slots": 10, "hot_standby": "on", "wal_level": "replica",
					},
				},
			},
			"initdb": []any{
				settings{"encoding": "UTF8"},
				settings{"locale": "C.UTF-8"},
				settings{"auth-host": "scram-sha-256"},
				settings{"auth-local": "scram-sha-256"},
				"data-checksums", "no-sync",
			},
		},
		"postgresql": settings{
			"listen": address(n.port), "connect_address": address(n.port),
			"bin_dir": c.programs.postgres, "data_dir": n.data(), "pgpass": filepath.Join(n.dir, "pgpass"),
			// A node that is partitioned still reaches itself.
			"use_unix_socket": true, "use_unix_socket_repl": true,
			"authentication": settings{
				"superuser":   settings{"username": "postgres", "password": c.secrets.superuser},
				"replication": settings{"username": "replicator", "password": c.secrets.replication},
			},
			"pg_hba": []string{
				"local all all scram-sha-256", "local replication all scram-sha-256",
				"host all all 127.0.0.1/32 scram-sha-256", "host replication replicator 127.0.0.1/32 scram-sha-256",
			},
			"basebackup": []any{settings{"checkpoint": "fast"}, "no-sync"},
			"parameters": settings{
				"unix_socket_directories":     n.dir,
				"password_encryption":         "scram-sha-256",
				"wal_retrieve_retry_interval": "200ms",
				// Faults kill processes, never the machine, so what a process has written
				// survives.
				"fsync": "off",
				// In the data directory, so that a killed server leaves nothing in /dev/shm.
				"dynamic_shared_memory_type": "mmap",
			},
			"remove_data_directory_on_rewind_failure":     true,
			"remove_data_directory_on_diverged_timelines": true,
		},
		"watchdog": settings{"mode": "off"}, // it would be the machine's
	}
}

// writeFiles writes the configuration of everything.
func (c *Cluster) writeFiles() error {
	for _, n := range c.nodes {
		if err := os.Mkdir(n.dir, 0o700); err != nil {
			return err
		}
		if err := c.owner.Chown(n.dir); err != nil {
			return err
		}
		text, err := json.MarshalIndent(c.patroniSettings(n), "", "  ")
		if err != nil {
			return err
		}
		if err := c.writeFile(filepath.Join(n.Name, "patroni.yml"), string(text)); err != nil {
			return err
		}
	}
	if err := c.writeFile("haproxy.cfg", c.haproxySettings()); err != nil {
		return err
	}
	if err := c.writeFile("pgbouncer.users", `"`+database+`" "`+c.secrets.app+`"`+"\n"); err != nil {
		return err
	}
	return c.writeFile("pgbouncer.ini", c.pgbouncerSettings())
}

// writeFile writes a file that only the processes' user may read.
func (c *Cluster) writeFile(name, text string) error {
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return c.owner.Chown(path)
}
