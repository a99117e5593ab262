package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgmigrate"
)

func (a *app) reset() *cobra.Command {
	var confirmed string
	cmd := a.running(&cobra.Command{
		Use: "reset", Short: "Roll everything back and apply it again; only on a local database", Args: cobra.NoArgs,
		Long: `Roll everything back and apply it again. All data in the migrated tables is lost.
Reset does not ask, so it only accepts a database on this machine: every address must be a unix
socket, localhost or a loopback address, and APP_ENV, if it is set, must be development or test. If
the server sees another client address than this process has, a tunnel, a pooler or the port of a
container leads to it: then --confirm must name the database. A forwarded unix socket is not noticed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			acceptable := func(conn *pgx.ConnConfig) error {
				// Without APP_ENV the environment defaults to production, which means nothing here.
				if os.Getenv("APP_ENV") != "" && a.environment != string(pgconfig.Development) &&
					a.environment != string(pgconfig.Test) {
					return usageError{fmt.Errorf("reset: APP_ENV is %s: reset only works in development and test",
						a.environment)}
				}
				if err := onThisMachine(conn); err != nil {
					return err
				}
				return confirmTunnel(cmd.Context(), conn, confirmed)
			}
			return a.migrateIf(cmd.Context(), acceptable,
				func(ctx context.Context, m *pgmigrate.Migrator) (pgmigrate.Result, error) {
					down, err := m.To(ctx, 0)
					var irreversible *pgmigrate.IrreversibleError
					if errors.As(err, &irreversible) {
						return down, fmt.Errorf("reset: %w: drop and create the database instead", err)
					}
					if err != nil {
						return down, err
					}
					up, err := m.Up(ctx)
					up.From = down.From
					up.Steps = append(down.Steps, up.Steps...)
					up.Duration += down.Duration
					return up, err
				})
		},
	})
	cmd.Flags().StringVar(&confirmed, "confirm", "", "name of the database, if a tunnel or a container leads to it")
	return cmd
}

// confirmTunnel returns an error if the server sees another client than this process, unless the
// caller has named the database.
func confirmTunnel(ctx context.Context, config *pgx.ConnConfig, confirmed string) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var database, client string
	err = conn.QueryRow(ctx, "select current_database(), coalesce(host(inet_client_addr()) || ' ' || "+
		"inet_client_port(), '')", pgx.QueryExecModeSimpleProtocol).Scan(&database, &client)
	if err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	own := "" // as the server sees a unix socket
	if addr, ok := conn.PgConn().Conn().LocalAddr().(*net.TCPAddr); ok {
		own = fmt.Sprintf("%s %d", addr.AddrPort().Addr().Unmap(), addr.Port)
	}
	if client == own || confirmed == database {
		return nil
	}
	return usageError{fmt.Errorf("reset: a tunnel, a pooler or the port of a container leads to the server: if all "+
		"data of database %q may be lost, add --confirm %s", database, database)}
}

// onThisMachine returns an error if an address that pgx would try is not on this machine. It
// refuses names other than localhost without DNS, whose answer may change before pgx connects.
func onThisMachine(conn *pgx.ConnConfig) error {
	hosts := []string{conn.Host}
	for _, f := range conn.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	for _, host := range hosts {
		addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
		switch {
		case strings.HasPrefix(host, "/"), strings.HasPrefix(host, "@"): // unix sockets, named and abstract
		case strings.EqualFold(host, "localhost"):
		case err == nil && addr.Unmap().IsLoopback():
		default:
			return usageError{fmt.Errorf("reset: host %s is not this machine: reset only works on a local database",
				host)}
		}
	}
	return nil
}
