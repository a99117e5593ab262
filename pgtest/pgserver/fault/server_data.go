package fault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/tree"
)

var initdbArgs = []string{
	"--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--no-locale",
	"--no-sync", "--no-instructions", "--wal-segsize=1", // in MB: many small servers
}

// initialize makes the data directory.
func (s *Server) initialize(ctx context.Context) error {
	template, err := s.template()
	if err != nil {
		return err
	}
	// initdb takes a second, and a copy of its result a tenth of that.
	if err := tree.Copy(template, s.Data(), s.keeper.owner.UID, s.keeper.owner.GID); err != nil {
		if err := os.RemoveAll(s.Data()); err != nil {
			return err
		}
		if err := s.run(ctx, "initdb", append(initdbArgs, "-D", s.Data())...); err != nil {
			return err
		}
		s.store(template)
	}
	conf := s.Data("postgresql.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		return err
	}
	if err := s.write(conf, string(text)+"\ninclude = '"+ownConf+"'\n"); err != nil {
		return err
	}
	return s.configure()
}

// template returns where the user's cache keeps initdb's result, if it does.
func (s *Server) template() (string, error) {
	info, err := os.Stat(filepath.Join(s.bin, "postgres"))
	if err != nil {
		return "", err
	}
	of := sha256.Sum256(fmt.Append(nil, s.bin, info.Size(), info.ModTime().UnixNano(), initdbArgs))
	return filepath.Join(binaries.Here().CacheDir(), "fault-"+hex.EncodeToString(of[:8])), nil
}

// store keeps a copy of the data directory. It gets its name when it is whole. Where nothing can be
// kept, the next server runs initdb, too.
func (s *Server) store(template string) {
	if err := tree.MkdirAll(filepath.Dir(template), 0o700); err != nil {
		return
	}
	partial, err := os.MkdirTemp(filepath.Dir(template), "partial-") // pgserver sweeps what a kill leaves
	if err != nil {
		return
	}
	defer os.RemoveAll(partial)
	whole := filepath.Join(partial, "data")
	if err := tree.Copy(s.Data(), whole, os.Geteuid(), os.Getegid()); err == nil {
		_ = os.Rename(whole, template) // unless another process was faster
	}
}

// forgetTemplate makes the next server run initdb: a machine that crashed may have left a damaged
// copy, on which no server starts. It goes in one step, so that nobody copies a part.
func (s *Server) forgetTemplate() {
	template, err := s.template()
	if err != nil {
		return
	}
	partial, err := os.MkdirTemp(filepath.Dir(template), "partial-")
	if err != nil {
		return
	}
	defer os.RemoveAll(partial)
	_ = os.Rename(template, filepath.Join(partial, "data"))
}
