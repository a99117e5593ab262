package main

import (
	"errors"
	"fmt"
	"syscall"
)

// freeze stops all processes of the server (SIGSTOP) until thaw is called, which must be, also
// after an error.
func (s *ownServer) freeze() (thaw func() error, err error) {
	var stopped []int
	thaw = func() error {
		var err error
		for _, pid := range stopped {
			if e := syscall.Kill(pid, syscall.SIGCONT); !errors.Is(e, syscall.ESRCH) {
				err = errors.Join(err, e)
			}
		}
		return err
	}
	postmaster, err := s.postmaster()
	if err != nil {
		return thaw, err
	}
	if err := syscall.Kill(postmaster, syscall.SIGSTOP); err != nil {
		return thaw, fmt.Errorf("freeze: %w", err)
	}
	stopped = append(stopped, postmaster) // first: it starts no others from here on
	children, err := processesOf(postmaster)
	if err != nil {
		return thaw, fmt.Errorf("freeze: %w", err)
	}
	for _, p := range children {
		if err := syscall.Kill(p.id, syscall.SIGSTOP); err == nil {
			stopped = append(stopped, p.id)
		} else if !errors.Is(err, syscall.ESRCH) {
			return thaw, fmt.Errorf("freeze: %w", err)
		}
	}
	return thaw, nil
}
