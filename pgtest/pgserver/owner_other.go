//go:build !linux

package pgserver

import "syscall"

func mayBecome(Owner) bool { return true }

func appearAs(*syscall.SysProcAttr, Owner) {}
