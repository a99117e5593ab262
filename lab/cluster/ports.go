package cluster

import (
	"errors"
	"math/rand/v2"
	"net"
)

// freePorts returns n different free ports of loopback. They are below the range for outgoing
// connections (from 32768), so none of those takes a port while its program is down.
func freePorts(n int) ([]int, error) {
	var ports []int
	taken := map[int]bool{}
	for range 100 * n {
		port := 15000 + rand.IntN(17000)
		if taken[port] {
			continue
		}
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			continue
		}
		l.Close()
		taken[port] = true
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("no free ports from 15000 to 32000")
}
