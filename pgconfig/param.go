package pgconfig

import (
	"regexp"
	"strings"
)

// connectionParams are libpq's that pgx understands, with the PG* variable of each.
var connectionParams = map[string]string{
	"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "database": "", "user": "PGUSER", "password": "PGPASSWORD",
	"passfile": "PGPASSFILE", "service": "PGSERVICE", "servicefile": "PGSERVICEFILE",
	"sslmode": "PGSSLMODE", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslrootcert": "PGSSLROOTCERT",
	"sslpassword": "PGSSLPASSWORD", "sslcertmode": "PGSSLCERTMODE", "sslsni": "PGSSLSNI", "sslnegotiation": "PGSSLNEGOTIATION",
	"target_session_attrs": "PGTARGETSESSIONATTRS", "options": "PGOPTIONS", "application_name": "PGAPPNAME",
	"connect_timeout": "PGCONNECT_TIMEOUT", "timezone": "PGTZ", "channel_binding": "PGCHANNELBINDING",
	"require_auth": "PGREQUIREAUTH", "min_protocol_version": "PGMINPROTOCOLVERSION",
	"max_protocol_version": "PGMAXPROTOCOLVERSION", "krbsrvname": "PGKRBSRVNAME", "krbspn": "", "ssl": "",
}

// cacheParams are pgx's own and stay as they are.
var cacheParams = map[string]bool{
	"default_query_exec_mode": true, "statement_cache_capacity": true, "description_cache_capacity": true,
}

// ignoredParams are left out, with a note that says why. Sent on they would become settings, and
// the server refuses a setting that it does not know (42704).
var ignoredParams = map[string]string{
	"gssencmode":               "pgx does not encrypt with GSSAPI",
	"gssdelegation":            "pgx does not encrypt with GSSAPI",
	"gsslib":                   "pgx does not encrypt with GSSAPI",
	"load_balance_hosts":       "hosts are tried in order",
	"sslcompression":           "TLS compression is unsafe and gone",
	"ssl_min_protocol_version": "Go's TLS starts at version 1.2",
	"ssl_max_protocol_version": "the newest version both sides know is used",
	"requirepeer":              "pgx does not check the owner of a socket",
	"sslcrl":                   "pgx reads no revocation lists",
	"sslcrldir":                "pgx reads no revocation lists",
	"requiressl":               "use sslmode",
	"client_encoding":          "pgx always uses UTF8",
	"pool_health_check_period": "idle connections are checked every minute",
	"single_use_connections":   "connections are always reused",
	"supa":                     "Supabase's mark on its pooler",
}

// settingParams are server settings that may be given as a parameter and are sent when connecting.
// Names with a dot are custom settings and pass too.
var settingParams = map[string]bool{
	"search_path": true, "timezone": true, "TimeZone": true, "datestyle": true, "DateStyle": true, "intervalstyle": true,
	"extra_float_digits": true, "work_mem": true, "maintenance_work_mem": true, "jit": true, "role": true,
	"session_replication_role": true, "default_transaction_isolation": true, "default_transaction_read_only": true,
	"default_transaction_deferrable": true, "transaction_timeout": true, "idle_session_timeout": true,
	"synchronous_commit": true, "client_min_messages": true, "row_security": true, "bytea_output": true,
	"standard_conforming_strings": true, "statement_mem": true, "lc_messages": true, "log_min_duration_statement": true,
	"plan_cache_mode": true, "enable_seqscan": true, "random_page_cost": true, "effective_cache_size": true,
	"max_parallel_workers_per_gather": true, "client_connection_check_interval": true,
	"tcp_keepalives_idle": true, "tcp_keepalives_interval": true, "tcp_keepalives_count": true,
}

func isServerSetting(name string) bool { return settingParams[name] || strings.Contains(name, ".") }

// plainParam is what a parameter's name looks like: anything else is not shown.
var plainParam = regexp.MustCompile(`^[a-z][a-z0-9_]{0,40}$`)

// checkParam reports a parameter that nobody knows. Its name is shown only if it cannot be a piece
// of a secret.
func checkParam(name string, afterSecret bool) (finding, bool) {
	if _, ok := connectionParams[name]; ok {
		return finding{}, false
	}
	if _, ok := translations[name]; ok {
		return finding{}, false
	}
	if _, ok := ignoredParams[name]; ok || cacheParams[name] || prismaParams[name] || isServerSetting(name) {
		return finding{}, false
	}
	if name == "hostaddr" {
		return finding{"has the parameter hostaddr, which pgx does not know", "give the address as the host"}, true
	}
	const hint = "take it out; a setting of the server goes into options=-c%20name%3Dvalue, and an & inside a value is %26"
	if afterSecret || !plainParam.MatchString(name) {
		return finding{"has a parameter that is not known", hint}, true
	}
	return finding{"has the parameter " + name + ", which is not known", hint}, true
}
