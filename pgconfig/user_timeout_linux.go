package pgconfig

import (
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of <linux/tcp.h>, the same on all architectures. Package
// syscall does not have it.
const tcpUserTimeout = 0x12

// setUserTimeout limits how long sent data may stay unacknowledged. Keepalive does not: it probes
// only while nothing is under way. See tcp(7).
func setUserTimeout(fd uintptr, timeout time.Duration) error {
	ms := max(int(timeout/time.Millisecond), 1)
	return syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, ms)
}
