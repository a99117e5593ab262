package cluster

import (
	"errors"
	"math/rand/v2"
	"net"
)

// freePorts returns n different ports of loopback that nobody listens on. They are below those that
// the kernel gives to outgoing connections (from 32768), which might take one while the program
// that listens on it is down.
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
