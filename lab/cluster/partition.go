package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Partition isolates the node until [Node.Heal] or [Cluster.Stop]: packets between it and etcd, the
// other nodes, the proxies and the clients are dropped silently in both directions. The node's
// processes keep running.
//
// Partition uses nftables on loopback, which needs root and the package nftables. Where that is not
// possible, it returns the error of [CheckPartition].
func (n *Node) Partition() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return nil
	}
	if err := checkPartition(n.c.programs.nft, n.c.table); err != nil {
		return fmt.Errorf("partition %s: %w", n.Name, err)
	}
	n.c.say("partition %s", n.Name)
	// First block the ports that it listens on and its new connections, which have its group. No
	// more can be made then, so the list of its open connections is complete.
	err := n.filter(fmt.Sprintf(`
		add table inet %[1]s
		add chain inet %[1]s %[2]s_out { type filter hook output priority 0; policy accept; }
		add chain inet %[1]s %[2]s_in { type filter hook input priority 0; policy accept; }
		add rule inet %[1]s %[2]s_out meta skgid %[3]d tcp flags & (syn | ack) == syn drop
	`, n.c.table, n.Name, n.owner.GID) + n.drop(n.port, n.rest))
	if err == nil {
		var ports []int
		if ports, err = connections(n.dir); err == nil && len(ports) > 0 {
			err = n.filter(n.drop(ports...))
		}
		n.cut = true
	}
	if err != nil {
		return errors.Join(fmt.Errorf("partition %s: %w", n.Name, err), n.heal())
	}
	return nil
}

// Heal undoes [Node.Partition].
func (n *Node) Heal() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.heal()
}

func (n *Node) heal() error {
	if !n.cut {
		return nil
	}
	n.c.say("heal %s", n.Name)
	if err := n.filter(fmt.Sprintf("delete chain inet %[1]s %[2]s_out\ndelete chain inet %[1]s %[2]s_in\n",
		n.c.table, n.Name)); err != nil {
		return fmt.Errorf("heal %s: %w", n.Name, err)
	}
	n.cut = false
	return nil
}

// CheckPartition returns an [errors.ErrUnsupported] that says what is missing if [Node.Partition]
// is not possible on this machine. No cluster has to run.
func CheckPartition() error { return checkPartition(find("nft"), "cluster_check") }

func checkPartition(nft, table string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("only root may drop packets: %w", errors.ErrUnsupported)
	}
	if nft == "" {
		return fmt.Errorf("it takes nft, which is not installed: sudo apt-get install nftables: %w",
			errors.ErrUnsupported)
	}
	// The kernel, or the container, may not have it.
	if out, err := exec.Command(nft, "--check", "add table inet "+table).CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %s: %w", bytes.TrimSpace(out), errors.ErrUnsupported)
	}
	return nil
}

// drop returns rules that drop packets from and to ports.
func (n *Node) drop(ports ...int) string {
	set := strings.Trim(strings.ReplaceAll(fmt.Sprint(ports), " ", ", "), "[]")
	rule := "add rule inet " + n.c.table + " " + n.Name + "_in tcp %s { " + set + " } drop\n"
	return fmt.Sprintf(rule, "dport") + fmt.Sprintf(rule, "sport")
}

func (n *Node) filter(rules string) error {
	cmd := exec.Command(n.c.programs.nft, "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// connections returns the local ports of the TCP connections that the processes in dir have.
func connections(dir string) ([]int, error) {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return nil, err
	}
	ports := map[string]int{} // by the link to a socket
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		_, port, _ := strings.Cut(f[1], ":")
		if p, err := strconv.ParseUint(port, 16, 16); err == nil {
			ports["socket:["+f[9]+"]"] = int(p)
		}
	}
	pids, err := processes(dir)
	if err != nil {
		return nil, err
	}
	var found []int
	for _, pid := range pids {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, link := range links {
			to, err := os.Readlink(link)
			if port, ok := ports[to]; ok && err == nil && !slices.Contains(found, port) {
				found = append(found, port)
			}
		}
	}
	return found, nil
}
