package schema

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// NoProgramError says that there is no pg_dump on this machine that can read the servers.
type NoProgramError struct {
	Major int      // the newest server's version: pg_dump must not be older
	Tried []string // what was found, and why it would not do
}

func (e *NoProgramError) Error() string {
	tried := "none was found"
	if len(e.Tried) > 0 {
		tried = "found " + strings.Join(e.Tried, ", ")
	}
	return fmt.Sprintf("no pg_dump of version %d or later (%s); install PostgreSQL's client programs, or put it "+
		"into PATH", e.Major, tried)
}

// findPgDump returns the oldest pg_dump that is not older than major. A much newer one writes some
// objects differently.
func findPgDump(ctx context.Context, major int) (string, error) {
	missing := &NoProgramError{Major: major}
	best, bestVersion := "", 0
	for _, path := range pgserver.Programs("pg_dump") {
		version, err := programVersion(ctx, path)
		switch {
		case err != nil:
			missing.Tried = append(missing.Tried, path+", which does not run")
		case version < major:
			missing.Tried = append(missing.Tried, fmt.Sprintf("%s of version %d", path, version))
		case version == major:
			return path, nil
		case best == "" || version < bestVersion:
			best, bestVersion = path, version
		}
	}
	if best == "" {
		return "", missing
	}
	return best, nil
}

// programVersion reads "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)".
func programVersion(ctx context.Context, path string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(out), ") ")
	return strconv.Atoi(after[:len(after)-len(strings.TrimLeft(after, "0123456789"))])
}
