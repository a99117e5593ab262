//go:build !unix

package tool

func serve(name string, args ...string) error { return Command(name, args...) }
