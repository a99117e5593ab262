//go:build unix

package pgpool

import "syscall"

// heard reports whether something has arrived on an idle connection, or its end. It does not block
// and reads nothing.
func (s *session) heard() bool {
	if s.raw == nil {
		return false
	}
	var some [1]byte
	heard := false
	err := s.raw.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), some[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		heard = err != syscall.EAGAIN && err != syscall.EINTR
	})
	return heard || err != nil // it has been closed here
}
