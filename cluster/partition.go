package cluster

import "errors"

// Partition is not here yet.
func (n *Node) Partition() error { return errors.ErrUnsupported }

// Heal undoes Partition.
func (n *Node) Heal() error { return nil }
