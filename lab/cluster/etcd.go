package cluster

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"
)

var errStopped = errors.New("the cluster is stopped")

// StartEtcd starts etcd if it does not run, with the data that it had.
func (c *Cluster) StartEtcd(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.etcd.running() {
		return nil
	}
	client, peer := "http://"+address(c.etcdPort), "http://"+address(c.etcdPeerPort)
	return c.restart(ctx, &c.etcd, c.etcdPort, syscall.SIGKILL, "etcd.log", c.programs.etcd,
		"--name=e1", "--data-dir="+filepath.Join(c.dir, "etcd"), "--enable-v2=true", "--unsafe-no-fsync",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=e1="+peer)
}

// StopEtcd kills etcd. Patroni then demotes the primary, because it cannot rule out a second one.
// After a few seconds no client can write until [Cluster.StartEtcd].
func (c *Cluster) StopEtcd() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return errStopped
	}
	c.say("kill etcd")
	c.etcd.end(syscall.SIGKILL)
	return nil
}
