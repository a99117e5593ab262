package pgconfig

import (
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of <linux/tcp.h>, the same on all architectures. Package
// syscall does not have it.
const tcpUserTimeout = 0x12

func setUserTimeout(fd uintptr, timeout time.Duration) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, max(int(timeout/time.Millisecond), 1))
}
