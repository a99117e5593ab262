package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgmigrate"
)

func (a *app) reset() *cobra.Command {
	return a.running(&cobra.Command{
		Use: "reset", Short: "Roll everything back and apply it again; only on a local database", Args: cobra.NoArgs,
		Long: `Roll everything back and apply it again. All data in the migrated tables is lost.
Nothing is asked, so only a database on this machine is accepted: every address must be a unix
socket, localhost or a loopback address, and APP_ENV, if it is set, development or test.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			acceptable := func(conn *pgx.ConnConfig) error {
				// Without APP_ENV the environment is production by default, and says nothing.
				if os.Getenv("APP_ENV") != "" && a.environment != string(pgconfig.Development) &&
					a.environment != string(pgconfig.Test) {
					return fmt.Errorf("reset: APP_ENV is %s: reset only works in development and test", a.environment)
				}
				return onThisMachine(conn)
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
}

// onThisMachine returns an error if an address that pgx would try is not on this machine. A name
// other than localhost is refused without asking DNS, whose answer may be another one when the
// connection is made.
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
			return fmt.Errorf("reset: host %s is not this machine: reset only works on a local database", host)
		}
	}
	return nil
}
