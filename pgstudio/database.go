package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgconfig"
)

// database is the configured database, described for pgx and for lib/pq, the driver of pgweb.
type database struct {
	config *pgx.ConnConfig
	params url.Values // of the configured connection string
	tls    bool       // pgx's connection is encrypted
	tunnel bool       // the server does not see this process as its client
}

// newDatabase takes the direct connection: PgBouncer knows neither a new role nor its password.
func newDatabase(cfg pgconfig.Config) (*database, error) {
	config, err := cfg.DirectConfig()
	if err != nil {
		return nil, refusal(err.Error())
	}
	for _, host := range hosts(config) {
		if host != config.Host {
			return nil, refusal("several hosts are configured, and pgweb connects to one: set DIRECT_DATABASE_URL " +
				"to that")
		}
	}
	_, query, _ := strings.Cut(cfg.DirectURL().Reveal(), "?")
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, refusal("the parameters of the connection string cannot be read")
	}
	return &database{config: config, params: params}, nil
}

// connect opens a connection as the configured user. Each task opens its own, so there is no idle
// connection that a firewall could cut.
func (d *database) connect(ctx context.Context) (*pgx.Conn, error) {
	return pgx.ConnectConfig(ctx, d.config.Copy())
}

// reach checks that the server answers, whether it encrypts, and whether it sees this process as
// its client.
func (d *database) reach(ctx context.Context) error {
	conn, err := d.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, d.tls = conn.PgConn().Conn().(*tls.Conn)
	var client string
	err = conn.QueryRow(ctx, "select coalesce(host(inet_client_addr()) || ' ' || inet_client_port(), '')",
		pgx.QueryExecModeSimpleProtocol).Scan(&client)
	own := "" // as the server sees a unix socket
	if addr, ok := conn.PgConn().Conn().LocalAddr().(*net.TCPAddr); ok {
		own = fmt.Sprintf("%s %d", addr.AddrPort().Addr().Unmap(), addr.Port)
	}
	d.tunnel = client != own
	return err
}

// source returns the connection string with which pgweb logs in as user.
func (d *database) source(user, password string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Path: "/" + d.config.Database}
	query := url.Values{"sslmode": {d.sslMode()}, "application_name": {"pgstudio"}}
	port := strconv.Itoa(int(d.config.Port))
	if strings.HasPrefix(d.config.Host, "/") {
		query.Set("host", d.config.Host)
		query.Set("port", port)
	} else {
		u.Host = d.config.Host + ":" + port
		if strings.Contains(d.config.Host, ":") {
			u.Host = fmt.Sprintf("[%s]:%s", strings.Trim(d.config.Host, "[]"), port)
		}
	}
	for _, name := range []string{"sslrootcert", "sslcert", "sslkey"} {
		if value := d.params.Get(name); value != "" && value != "system" { // lib/pq would take that for a file
			query.Set(name, value)
		}
	}
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20") // libpq takes a plus sign for itself
	return u.String()
}

// sslMode returns the configured mode if it is definite, and otherwise the one that pgx negotiated:
// lib/pq has no mode that tries both.
func (d *database) sslMode() string {
	switch mode := d.params.Get("sslmode"); {
	case mode != "" && mode != "prefer" && mode != "allow":
		return mode
	case d.tls:
		return "require"
	default:
		return "disable"
	}
}
