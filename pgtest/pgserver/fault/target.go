package fault

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// target is the server behind a proxy or a pooler.
type target struct {
	*pgx.ConnConfig
	text    string // the connection string
	network string
	address string
	plain   bool // without TLS, too
}

func parseTarget(connString string) (target, error) {
	shielded, err := pgserver.ShieldURL(connString)
	if err != nil {
		return target{}, err
	}
	cfg, err := pgx.ParseConfig(shielded)
	if err != nil {
		return target{}, errors.New("the connection string does not parse") // err would quote it
	}
	t := target{ConnConfig: cfg, text: connString, plain: cfg.TLSConfig == nil}
	t.network, t.address = pgconn.NetworkAddress(cfg.Host, cfg.Port)
	for _, f := range cfg.Fallbacks { // of sslmode=prefer
		t.plain = t.plain || f.Host == cfg.Host && f.Port == cfg.Port && f.TLSConfig == nil
	}
	return t, nil
}

// url returns the connection string with the address of a port instead of the server's.
func (t target) url(p *port, opts Options) string {
	u, err := url.Parse(t.text)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") { // keywords and values
		query := url.Values{}
		for name, value := range t.RuntimeParams {
			query.Set(name, value)
		}
		u = &url.URL{RawQuery: query.Encode()}
	}
	query := u.Query()
	for _, name := range []string{"host", "hostaddr", "port", "user", "password", "dbname", "database"} {
		query.Del(name)
	}
	if !opts.Raw {
		for name := range query {
			if strings.HasPrefix(name, "ssl") {
				query.Del(name)
			}
		}
		query.Set("sslmode", "disable")
		if opts.TLS != nil {
			query.Set("sslmode", "require")
		}
	}
	u.Scheme, u.Host, u.Path, u.RawPath = "postgres", p.address, "/"+t.Database, ""
	if p.network == "unix" {
		u.Host = ""
		query.Set("host", filepath.Dir(p.address))
		query.Set("port", "5432")
	}
	u.User = url.User(t.User)
	if t.Password != "" {
		u.User = url.UserPassword(t.User, t.Password)
	}
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20") // libpq takes a plus sign for itself
	return u.String()
}

// dial connects to the server, with TLS as its connection string asks for. raw leaves TLS to the
// client.
func (t target) dial(ctx context.Context, raw bool) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, t.network, t.address)
	if err != nil || t.TLSConfig == nil || raw {
		return conn, err
	}
	secured, err := t.secure(ctx, conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS to the server: %w", err)
	}
	return secured, nil
}

func (t target) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	request := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, codeSSL)
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err
	}
	switch {
	case answer[0] == 'S':
		secured := tls.Client(conn, t.TLSConfig)
		return secured, secured.HandshakeContext(ctx)
	case answer[0] == 'N' && t.plain:
		return conn, nil
	}
	return nil, errors.New("the server refuses TLS")
}
