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

// hermetic are all settings that pgx would otherwise take from a variable of the process or from
// the home directory, with the value that stands for "not set". What it would send to the server
// (PGOPTIONS, PGTZ, PGAPPNAME) is replaced as a whole.
var hermetic = map[string]string{
	"passfile": "", "sslkey": "", "sslcert": "", "sslcertmode": "allow", "sslsni": "1",
	"sslrootcert": "", "sslpassword": "", "sslnegotiation": "", "target_session_attrs": "any",
	"min_protocol_version": "", "max_protocol_version": "", "channel_binding": "", "require_auth": "",
	"connect_timeout": "0",
	"password":        "", "sslmode": "prefer",
}

// connConfig makes pgx's configuration. pgx insists that its parser makes it, so it gets a
// connection string with every setting spelled out, except the secrets, which are put in
// afterwards: ConnConfig.ConnString and pgx's error hold none.
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
// PGSERVICE in the process makes pgx read a service file even if everything is given, and fail if
// there is none. That cannot be switched off, so pgx then gets a service without settings, through
// a pipe: nothing is written to disk, which may be read-only.
func spellOut(settings map[string]string, parse func(text string) error) error {
	if os.Getenv("PGSERVICE") != "" {
		r, w, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("open a pipe: %w", err)
		}
		defer r.Close()
		// A pipe has room for this. If it were not written, pgx would say that there is no such
		// service.
		_, _ = w.WriteString("[none]\n")
		_ = w.Close()
		settings["service"], settings["servicefile"] = "none", fmt.Sprintf("/dev/fd/%d", r.Fd())
	}
	return parse(dsn.Join(settings))
}
