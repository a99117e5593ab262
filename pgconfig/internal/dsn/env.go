package dsn

import (
	"maps"
	"slices"
	"strings"
)

// env maps environment variables to libpq's parameters.
var env = map[string]string{
	"PGHOST": "host", "PGPORT": "port", "PGDATABASE": "dbname", "PGUSER": "user", "PGPASSWORD": "password",
	"PGHOSTADDR": "hostaddr",
	"PGPASSFILE": "passfile", "PGSERVICE": "service", "PGSERVICEFILE": "servicefile",
	"PGSSLMODE": "sslmode", "PGSSLCERT": "sslcert", "PGSSLKEY": "sslkey", "PGSSLROOTCERT": "sslrootcert",
	"PGSSLPASSWORD": "sslpassword",
	"PGSSLCERTMODE": "sslcertmode", "PGSSLSNI": "sslsni", "PGSSLNEGOTIATION": "sslnegotiation",
	"PGREQUIRESSL":            "requiressl",
	"PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version", "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version",
	"PGSSLCRL": "sslcrl", "PGSSLCRLDIR": "sslcrldir", "PGSSLCOMPRESSION": "sslcompression",
	"PGREQUIREPEER":        "requirepeer",
	"PGTARGETSESSIONATTRS": "target_session_attrs", "PGLOADBALANCEHOSTS": "load_balance_hosts",
	"PGCHANNELBINDING": "channel_binding", "PGREQUIREAUTH": "require_auth", "PGGSSENCMODE": "gssencmode",
	"PGGSSLIB":        "gsslib",
	"PGGSSDELEGATION": "gssdelegation", "PGKRBSRVNAME": "krbsrvname", "PGMINPROTOCOLVERSION": "min_protocol_version",
	"PGMAXPROTOCOLVERSION": "max_protocol_version", "PGOPTIONS": "options", "PGAPPNAME": "application_name",
	"PGCONNECT_TIMEOUT": "connect_timeout", "PGCLIENTENCODING": "client_encoding",
	"PGTZ": "timezone", "PGDATESTYLE": "datestyle", "PGGEQO": "geqo",
}

// FromEnv returns the parameter that a variable of libpq stands for, or "".
func FromEnv(variable string) string { return env[variable] }

// MeantEnv returns the libpq variable that a misspelled name stands for, or "".
func MeantEnv(variable string) string {
	plain := strings.ReplaceAll(variable, "_", "")
	for _, known := range slices.Sorted(maps.Keys(env)) {
		if known != variable && differLittle(plain, strings.ReplaceAll(known, "_", "")) {
			return known
		}
	}
	return ""
}

// differLittle reports whether the two differ by one added, missing or different character.
func differLittle(a, b string) bool {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	a, b = a[i:], b[i:]
	if a == b {
		return true
	}
	return a != "" && a[1:] == b || b != "" && b[1:] == a || a != "" && b != "" && a[1:] == b[1:]
}
