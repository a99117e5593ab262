package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgconfig"
)

// refusal says why pgstudio refuses a database or its arguments.
type refusal string

func (r refusal) Error() string { return string(r) }

// permit refuses a database that others may use: one on another machine, or the production
// database. --remote allows reading it. Nothing allows writing to it.
func permit(environment pgconfig.Environment, conn *pgx.ConnConfig, remote, write bool) error {
	var looks string
	if environment == pgconfig.Production {
		looks = "the rules of production hold (APP_ENV)"
	}
	for _, host := range hosts(conn) {
		if !local(host) {
			looks = "host " + host + " is not this machine"
		}
	}
	switch {
	case looks == "":
		return nil
	case write:
		return refusal(looks + ": --write is for a local database only; change this one by a migration, or with psql")
	case !remote:
		return refusal(looks + ": --remote permits to read it")
	}
	return nil
}

// permitWrite refuses a server that only seems to be local: the production server may be at the
// other end of a tunnel. The port of a container looks the same, so confirmed may name the
// database.
func permitWrite(db *database, confirmed string) error {
	name := db.config.Database
	if !db.tunnel || confirmed == name {
		return nil
	}
	return refusal(fmt.Sprintf("a tunnel, a pooler or the port of a container leads to the server: "+
		"if database %q may be "+
		"changed, add --confirm %s", name, name))
}

func hosts(conn *pgx.ConnConfig) []string {
	hosts := []string{conn.Host}
	for _, f := range conn.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	return hosts
}

// local reports whether a host is this machine. Any name but localhost counts as remote. It does
// not ask DNS, because the answer may differ when the connection is made.
func local(host string) bool {
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || strings.EqualFold(host, "localhost") ||
		err == nil && addr.Unmap().IsLoopback()
}
