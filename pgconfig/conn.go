package pgconfig

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgconfig/internal/dsn"
)

// hermetic are the settings that pgx would otherwise take from the process's environment or the
// home directory, each with the value that means "not set". The settings that pgx would send to the
// server (PGOPTIONS, PGTZ, PGAPPNAME) are replaced as a whole.
var hermetic = map[string]string{
	"passfile": "", "sslkey": "", "sslcert": "", "sslcertmode": "allow", "sslsni": "1",
	"sslrootcert": "", "sslpassword": "", "sslnegotiation": "", "target_session_attrs": "any",
	"min_protocol_version": "", "max_protocol_version": "", "channel_binding": "", "require_auth": "",
	"connect_timeout": "0",
	"password":        "", "sslmode": "prefer",
}

// connConfig makes pgx's configuration. Only pgx's parser can make one, so connConfig passes it a
// connection string with every setting spelled out. It fills in the secrets afterwards, so that
// ConnConfig.ConnString and pgx's errors hold none.
func connConfig(d dsn.DSN) (*pgx.ConnConfig, error) {
	settings := maps.Clone(hermetic)
	settings["host"], settings["port"] = d.HostList(), d.PortList()
	settings["user"], settings["database"] = d.User, d.Database
	for name, value := range d.Params {
		if !dsn.IsSecret(name) {
			settings[name] = value
		}
	}
	options := pgx.ParseConfigOptions{ParseConfigOptions: pgconn.ParseConfigOptions{
		GetSSLPassword: func(context.Context) string { return d.Params["sslpassword"] },
	}}
	var cc *pgx.ConnConfig
	err := spellOut(settings, func(text string) (err error) {
		cc, err = pgx.ParseConfigWithOptions(text, options)
		return err
	})
	if err != nil {
		return nil, err
	}
	cc.Password = d.Password
	cc.RuntimeParams = map[string]string{}
	maps.Copy(cc.RuntimeParams, d.Settings)
	if flags := d.FlagOptions(); len(flags) > 0 {
		cc.RuntimeParams["options"] = strings.Join(flags, " ")
	}
	return cc, nil
}

// emptyPool makes a configuration of a pool without a connection: only pgxpool's parser can.
func emptyPool() (*pgxpool.Config, error) {
	settings := maps.Clone(hermetic)
	settings["host"], settings["port"], settings["sslmode"] = "localhost", "5432", "disable"
	settings["user"], settings["database"] = "none", "none"
	var pc *pgxpool.Config
	err := spellOut(settings, func(text string) (err error) {
		pc, err = pgxpool.ParseConfig(text)
		return err
	})
	return pc, err
}

// spellOut calls parse with settings in the keyword=value form.
//
// If the process has PGSERVICE, pgx reads a service file even if everything is given, and fails
// without one. That cannot be switched off, so pgx gets an empty service through a pipe. Nothing is
// written to disk, which may be read-only.
func spellOut(settings map[string]string, parse func(text string) error) error {
	if os.Getenv("PGSERVICE") != "" {
		r, w, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("open a pipe: %w", err)
		}
		defer r.Close()
		// A pipe has room for this. If the write fails, pgx reports that the service does not
		// exist.
		_, _ = w.WriteString("[none]\n")
		_ = w.Close()
		settings["service"], settings["servicefile"] = "none", fmt.Sprintf("/dev/fd/%d", r.Fd())
	}
	return parse(dsn.Join(settings))
}
