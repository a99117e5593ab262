package shadow

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate/internal/readonly"
)

// identity tells one database from all others, whatever its addresses are.
type identity struct {
	major  int
	system int64  // of the cluster: 0 if it may not be read
	oid    uint32 // of the database in the cluster
}

func (i identity) same(other identity) bool {
	return i.system != 0 && i.system == other.system && i.oid == other.oid
}

var errSame = errors.New("the shadow's address names the live database: name another database or server with " +
	"--shadow-url or SHADOW_DATABASE_URL")

// askLive returns the live database's identity. It is empty if there is no live database or it does
// not answer: a caller that needs it reports that. askLive refuses a shadow address that is written
// like the live one.
func askLive(ctx context.Context, opts Options) (identity, error) {
	if opts.Live == nil {
		return identity{}, nil
	}
	if opts.URL != "" {
		cfg, err := parse(opts.URL)
		if err != nil {
			return identity{}, err
		}
		if sameAddress(cfg, opts.Live) {
			return identity{}, errSame
		}
	}
	cfg := opts.Live.Copy()
	readonly.Session(cfg)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return identity{}, ctx.Err()
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return identify(ctx, conn)
}

func identify(ctx context.Context, conn *pgx.Conn) (identity, error) {
	var i identity
	var number int
	err := conn.QueryRow(ctx, `select current_setting('server_version_num')::int, oid from pg_database
		where datname = current_database()`).
		Scan(&number, &i.oid)
	if err != nil {
		return i, fmt.Errorf("read the server's version: %w", err)
	}
	i.major = number / 10000
	err = conn.QueryRow(ctx, "select system_identifier from pg_control_system()").Scan(&i.system)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) { // not for this role: then the address has to do
		err = nil
	}
	return i, err
}

// sameAddress reports whether a host, port and database are in both configurations.
func sameAddress(a, b *pgx.ConnConfig) bool {
	if a.Database != b.Database {
		return false
	}
	for _, x := range addresses(a) {
		for _, y := range addresses(b) {
			if x == y {
				return true
			}
		}
	}
	return false
}

func addresses(cfg *pgx.ConnConfig) []string {
	list := []string{fmt.Sprint(cfg.Host, ":", cfg.Port)}
	for _, f := range cfg.Fallbacks {
		list = append(list, fmt.Sprint(f.Host, ":", f.Port))
	}
	return list
}
