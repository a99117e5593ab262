package schema

import (
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// libpqParameters maps the settings of an address that pgx does not keep as text to libpq's
// variables.
var libpqParameters = map[string]string{
	"sslmode":              "PGSSLMODE",
	"sslrootcert":          "PGSSLROOTCERT",
	"sslcert":              "PGSSLCERT",
	"sslkey":               "PGSSLKEY",
	"sslsni":               "PGSSLSNI",
	"sslnegotiation":       "PGSSLNEGOTIATION",
	"channel_binding":      "PGCHANNELBINDING",
	"krbsrvname":           "PGKRBSRVNAME",
	"target_session_attrs": "PGTARGETSESSIONATTRS",
}

// libpqEnvironment makes libpq connect as pgx does with cfg. The password travels in it and not on
// the command line, which every user of the machine can read.
func libpqEnvironment(cfg *pgx.ConnConfig) []string {
	environment := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "PG") && !strings.HasPrefix(variable, "PGSSL")
	})
	hosts, ports := []string{cfg.Host}, []string{strconv.Itoa(int(cfg.Port))}
	for _, f := range cfg.Fallbacks {
		// pgx lists an address twice where sslmode allows both ways.
		if port := strconv.Itoa(int(f.Port)); f.Host != hosts[len(hosts)-1] || port != ports[len(ports)-1] {
			hosts, ports = append(hosts, f.Host), append(ports, port)
		}
	}
	set := map[string]string{
		"PGHOST":     strings.Join(hosts, ","),
		"PGPORT":     strings.Join(ports, ","),
		"PGUSER":     cfg.User,
		"PGPASSWORD": cfg.Password,
		"PGDATABASE": cfg.Database,
		"PGAPPNAME":  "pgmigrate-dev",
		// pg_dump only reads. The setting makes sure of it.
		"PGOPTIONS": "-c default_transaction_read_only=on",
		"LC_ALL":    "C", // messages in English
	}
	if cfg.ConnectTimeout > 0 {
		// libpq rounds less than 2 s up to 2 s.
		set["PGCONNECT_TIMEOUT"] = strconv.Itoa(max(2, int(cfg.ConnectTimeout.Seconds())))
	}
	for name, value := range addressParameters(cfg.ConnString()) {
		if variable, ok := libpqParameters[name]; ok {
			set[variable] = value
		}
	}
	// To libpq, a session with default_transaction_read_only looks like a standby.
	if set["PGTARGETSESSIONATTRS"] == "read-write" {
		set["PGTARGETSESSIONATTRS"] = "primary"
	}
	for name, value := range set {
		if value != "" {
			environment = append(environment, name+"="+value)
		}
	}
	return environment
}

var keywordValue = regexp.MustCompile(`(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s\\]|\\.)*)`)

// addressParameters returns the parameters of an address in either of libpq's forms.
func addressParameters(address string) map[string]string {
	found := map[string]string{}
	if u, err := url.Parse(address); err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql") {
		for name, values := range u.Query() {
			found[name] = values[0]
		}
		return found
	}
	for _, match := range keywordValue.FindAllStringSubmatch(address, -1) {
		value := match[2]
		if strings.HasPrefix(value, "'") {
			value = value[1 : len(value)-1]
		}
		found[match[1]] = unescape.ReplaceAllString(value, "$1")
	}
	return found
}

var unescape = regexp.MustCompile(`\\(.)`)
