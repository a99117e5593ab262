package pgserver

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
)

// ParseConfig is [pgx.ParseConfig] for a connection URL whose meaning must not depend on the
// environment of this process. Of the variables that PostgreSQL's clients read only PGPASSWORD,
// PGPASSFILE and PGSSL… count. A connection attempt ends after 10 s unless the URL has another
// connect_timeout.
//
// The error may quote the URL without its password.
func ParseConfig(connURL string) (*pgx.ConnConfig, error) {
	shielded, err := ShieldURL(connURL)
	if err != nil {
		return nil, err
	}
	cfg, err := pgx.ParseConfig(shielded)
	if err != nil {
		return nil, err
	}
	Shield(cfg)
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = dialLimit
	}
	return cfg, nil
}

// dialLimit bounds one attempt to connect. A server that swaps needs seconds; one that does not
// answer at all must not hold up a test for minutes.
const dialLimit = 10 * time.Second

// neutral are the parameters that override variables, and what they are where a URL has none.
var neutral = map[string]string{
	"PGCONNECT_TIMEOUT":    "connect_timeout=10",
	"PGTARGETSESSIONATTRS": "target_session_attrs=any",
	"PGMINPROTOCOLVERSION": "min_protocol_version=3.0",
	"PGMAXPROTOCOLVERSION": "max_protocol_version=3.0",
	"PGCHANNELBINDING":     "channel_binding=prefer",
	"PGREQUIREAUTH":        "require_auth=",
	"PGSERVICE":            "service=pgserver",
}

// ShieldURL returns the URL with parameters that override the variables that are set, for a parser
// that [ParseConfig] cannot replace, such as pgxpool's. [Shield] does the rest. Without such
// variables it returns the URL as it is.
func ShieldURL(connURL string) (string, error) {
	u, _ := url.Parse(connURL)
	if u == nil || !strings.HasPrefix(u.Scheme, "postgres") {
		return connURL, nil // the caller's parser says what is wrong, without the password
	}
	asked := u.Query()
	var more []string
	for variable, parameter := range neutral {
		name, _, _ := strings.Cut(parameter, "=")
		if !asked.Has(name) && os.Getenv(variable) != "" {
			more = append(more, parameter)
		}
	}
	if os.Getenv("PGSERVICE") != "" && !asked.Has("service") {
		path, err := emptyService()
		if err != nil {
			return "", err
		}
		more = append(more, encodeQuery(url.Values{"servicefile": {path}}))
	}
	if u.RawQuery != "" && len(more) > 0 {
		u.RawQuery += "&"
	}
	u.RawQuery += strings.Join(more, "&")
	return u.String(), nil
}

// Shield removes the runtime parameters that a parser took from the environment.
func Shield(cfg *pgx.ConnConfig) {
	u, err := url.Parse(cfg.ConnString())
	if err != nil {
		return
	}
	asked := u.Query()
	for name := range cfg.RuntimeParams {
		if !asked.Has(name) {
			delete(cfg.RuntimeParams, name)
		}
	}
}

// emptyService returns a service file with one service that sets nothing: no parameter says that
// PGSERVICE does not count.
func emptyService() (path string, err error) {
	const text = "[pgserver]\n"
	dir, err := binaries.Here().MakeCacheDir("")
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "pg_service.conf")
	if b, err := os.ReadFile(path); err == nil && string(b) == text {
		return path, nil
	}
	f, err := os.CreateTemp(dir, "partial-")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	f.Close()
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return path, err
}

// encodeQuery writes parameters as every client reads them: libpq takes a plus sign for itself.
func encodeQuery(parameters url.Values) string {
	return strings.ReplaceAll(parameters.Encode(), "+", "%20")
}
