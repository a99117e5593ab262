package pgtest

import "io/fs"

// Option changes what [New] and [URL] do.
type Option func(*options)

type options struct {
	migrations fs.FS
}

func newOptions(opts []Option) options {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Migrations names the tern migrations that the database starts with. The default is the folder "migrations" beside the
// nearest go.mod or go.work upwards from the test's package that has one.
func Migrations(fsys fs.FS) Option {
	return func(o *options) { o.migrations = fsys }
}
