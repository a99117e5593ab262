//go:build !unix

package pgpool

func (*session) heard() bool { return false }
