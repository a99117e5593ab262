package fault

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// port is an address that can refuse and accept connections in turn.
type port struct {
	network, address string
	reserved         int // a TCP socket that keeps the address while nobody listens, or -1
	listener         net.Listener
	keeper           *keeper // of a Unix socket's directory
}

func openPort(unix bool) (*port, error) {
	if unix {
		k, err := keep(pgserver.Owner{UID: os.Geteuid()})
		if err != nil {
			return nil, err
		}
		return &port{network: "unix", address: filepath.Join(k.dir, socketName), reserved: -1, keeper: k}, nil
	}
	fd, number, err := reserve()
	if err != nil {
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	return &port{network: "tcp", address: net.JoinHostPort("127.0.0.1", strconv.Itoa(number)), reserved: fd}, nil
}

// reserve binds a TCP socket to a free port of loopback. While it is open and nobody listens, the
// system refuses connections to the port, and gives it to no other program that asks for any port.
func reserve() (fd, number int, err error) {
	syscall.ForkLock.RLock() // until close-on-exec is set
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, 0, err
	}
	// Linux lets net.Listen share the address, because it sets the same option.
	err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var name syscall.Sockaddr
	if err == nil {
		name, err = syscall.Getsockname(fd)
	}
	bound, ok := name.(*syscall.SockaddrInet4)
	if err == nil && !ok {
		err = errors.New("not an IPv4 address")
	}
	if err != nil {
		syscall.Close(fd)
		return -1, 0, err
	}
	return fd, bound.Port, nil
}

func (p *port) listen() (net.Listener, error) {
	if p.network == "unix" {
		os.Remove(p.address) // the socket that refused
	}
	l, err := net.Listen(p.network, p.address)
	if err != nil && p.reserved >= 0 { // systems other than Linux: the reservation makes way
		p.release()
		l, err = net.Listen(p.network, p.address)
	}
	if err != nil {
		return nil, err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // a socket that nobody listens on refuses; a missing one does not exist
	}
	p.listener = l
	return l, nil
}

func (p *port) refuse() {
	if p.listener != nil {
		p.listener.Close()
	}
}

func (p *port) release() {
	if p.reserved >= 0 {
		syscall.Close(p.reserved)
		p.reserved = -1
	}
}

// close gives the address up.
func (p *port) close() {
	p.refuse()
	p.release()
	if p.keeper != nil {
		p.keeper.release()
	}
}
