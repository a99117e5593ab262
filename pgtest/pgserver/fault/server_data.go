package fault

import (
	"context"
	"os"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/datadir"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/tree"
)

func (s *Server) source() datadir.Source {
	cache, _ := binaries.Here().MakeCacheDir("") // without one each server runs initdb
	return datadir.Source{
		Kind: "fault", Bin: s.bin, Cache: cache, UID: s.keeper.owner.UID, GID: s.keeper.owner.GID,
		Options: []string{"--wal-segsize=1"}, // in MB: many small servers
		Initdb:  func(ctx context.Context, args ...string) error { return s.run(ctx, "initdb", args...) },
	}
}

// initialize makes the data directory.
func (s *Server) initialize(ctx context.Context) error {
	if _, err := s.source().Make(ctx, s.Data()); err != nil {
		if err := os.RemoveAll(s.Data()); err != nil {
			return err
		}
		if err := s.source().MakeAnew(ctx, s.Data()); err != nil {
			return err
		}
	}
	if err := tree.Append(s.Data(), "postgresql.conf", "\ninclude = '"+ownConf+"'\n"); err != nil {
		return err
	}
	return s.configure()
}
