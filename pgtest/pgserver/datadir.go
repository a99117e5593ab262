package pgserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/datadir"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/tree"
)

// source makes the data directories of throw-away servers.
func (s *spec) source() datadir.Source {
	return s.owner.dataSource(s.owner.run, s.bin, s.cache, smallSegments)
}

// smallSegments suit many small servers, whose first segment of 16 MB would be copied each time.
const smallSegments = "--wal-segsize=1"

// runner runs one of PostgreSQL's programs, and returns what it said.
type runner func(ctx context.Context, program string, args ...string) (out string, err error)

func (o Owner) dataSource(run runner, bin, cache string, options ...string) datadir.Source {
	return datadir.Source{
		Bin: bin, Cache: cache, Options: options, UID: o.UID, GID: o.GID,
		Initdb: func(ctx context.Context, args ...string) error {
			out, err := run(ctx, filepath.Join(bin, "initdb"), args...)
			if err != nil && out == "" { // it did not start
				err = o.explain(err)
			}
			if err != nil {
				return fmt.Errorf("initdb: %w\n  %s", err, out)
			}
			return nil
		},
	}
}

// run runs one of PostgreSQL's programs as the owner, and returns what it said, indented.
func (o Owner) run(ctx context.Context, program string, args ...string) (string, error) {
	out, err := o.command(ctx, program, args...).CombinedOutput()
	return indent(out), err
}

func (o Owner) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	cmd.Env = binaries.Environ()
	cmd.SysProcAttr = o.Attr()
	return cmd
}

func indent(out []byte) string {
	return strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "\n  ")
}

// digest names what a server depends on: the binaries, who runs it, its settings, where it is, and
// this package's own way of starting it.
func (s *spec) digest() string {
	h := sha256.New()
	fmt.Fprintln(h, s.source().Digest(), s.owner.UID, s.dir)
	fmt.Fprintln(h, s.settings)
	fmt.Fprint(h, watchdogScript)
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// fillDataDir makes dir/data, and reports whether it is a copy. With fresh it must not be.
func (s *spec) fillDataDir(ctx context.Context, dir string, fresh bool) (copied bool, err error) {
	// In the server's directory, whose watchdog removes it if this process dies.
	data := filepath.Join(dir, "data")
	if fresh {
		err = s.source().MakeAnew(ctx, data)
	} else {
		copied, err = s.source().Make(ctx, data)
	}
	if err != nil {
		return copied, noRoom(err, dir)
	}
	directory := strings.ReplaceAll(dir, "'", "''")
	more := fmt.Sprintf("\n# pgserver\n%sunix_socket_directories = '%s'\nport = %s\n", s.settings, directory, port)
	return copied, noRoom(tree.Append(data, "postgresql.conf", more), dir)
}
