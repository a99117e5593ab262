package pgserver

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// configured returns the server that PGTEST_URL names, or nil. It does not connect.
func configured(getenv func(string) string) (*Server, error) {
	raw := getenv("PGTEST_URL")
	if raw == "" {
		return nil, nil
	}
	// Neither error of the two parsers may be shown: both quote the URL with its password.
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, errors.New("pgserver: PGTEST_URL is not a postgres:// URL; " +
			"expected the form postgres://postgres:PASSWORD@127.0.0.1:5432/postgres")
	}
	cfg, err := ParseConfig(raw)
	if err != nil {
		return nil, errors.New("pgserver: PGTEST_URL cannot be used: " +
			"check host, port and parameters; expected the form postgres://postgres:PASSWORD@127.0.0.1:5432/postgres")
	}
	hosts := []string{cfg.Host}
	for _, f := range cfg.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	if allow := getenv("PGTEST_ALLOW_REMOTE"); allow != "1" && allow != "true" {
		for _, h := range hosts {
			if !local(h) {
				return nil, fmt.Errorf("pgserver: PGTEST_URL names the host %s, which is not this machine: tests "+
					"create and "+
					"drop databases there. If that is meant, set PGTEST_ALLOW_REMOTE=1", h)
			}
		}
	}
	return &Server{url: u, release: func() {}}, nil
}

// local tells loopback addresses and socket directories. A name other than localhost is not looked
// up: what it means may change.
func local(host string) bool {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host) // 127.example.com is no address
	return err == nil && addr.IsLoopback()
}
