package dsn

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A param applies a parameter. It returns what is wrong with the value, or "", and what to do about
// it.
type param func(p *parser, name, value string) (detail, hint string)

// libpqParams are the parameters of libpq, pgx and pgxpool.
var libpqParams = map[string]param{
	"host": hold, "port": hold, "user": hold, "password": hold, "dbname": hold, "database": hold,
	"hostaddr": refuse("is not known to pgx", "give the address as the host"),

	"passfile": keep(), "service": keep(), "servicefile": keep(),
	"sslcert": keep(), "sslkey": keep(), "sslrootcert": keep(), "sslpassword": keep(),
	"krbsrvname": keep(), "krbspn": keep(), "require_auth": requireAuth,
	"sslnegotiation":       keep("postgres", "direct"),
	"sslcertmode":          keep("disable", "allow", "require"),
	"sslsni":               keep("0", "1"),
	"target_session_attrs": keep("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
	"channel_binding":      keep("disable", "prefer", "require"),
	"min_protocol_version": keep("3.0", "3.2", "latest"),
	"max_protocol_version": keep("3.0", "3.2", "latest"),
	"sslmode":              hold, "ssl": hold, "requiressl": hold,

	"ssl_min_protocol_version": dropOnly("Go's TLS starts at version 1.2",
		"asks for a version of TLS that pgx cannot insist on",
		"take it out, and set it on the server", "TLSv1", "TLSv1.1", "TLSv1.2"),
	"ssl_max_protocol_version": dropOnly("it is the newest that Go knows", "asks for an older version of TLS",
		"take it out", "TLSv1.3"),
	"sslcrl":    refuse(noRevocation, "take it out"),
	"sslcrldir": refuse(noRevocation, "take it out"),
	"requirepeer": refuse("asks for a check of the socket's owner, which pgx does not make",
		"take it out, and connect with TLS"),
	"gssencmode": dropOnly("pgx does not encrypt with GSSAPI",
		"asks for GSSAPI encryption, which pgx does not have", "use sslmode", "disable", "prefer"),
	"gssdelegation":      drop("pgx does not delegate credentials"),
	"gsslib":             drop("pgx has no choice of GSSAPI libraries"),
	"sslcompression":     drop("TLS compression is unsafe and gone"),
	"load_balance_hosts": drop("hosts are tried in order"),
	"client_encoding": dropOnly("pgx always uses UTF8",
		"asks for another encoding than UTF8, which pgx always uses", "take it out", utf8Names...),

	"options": applyOptions,

	"connect_timeout":           limit("DATABASE_CONNECT_TIMEOUT", seconds, strong),
	"application_name":          limit("DATABASE_APPLICATION_NAME", verbatim, strong),
	"fallback_application_name": limit("DATABASE_APPLICATION_NAME", verbatim, weak),
	"keepalives":                limit("DATABASE_KEEPALIVE_IDLE", keepalives, strong),
	"keepalives_idle":           limit("DATABASE_KEEPALIVE_IDLE", positiveSeconds, weak),
	"keepalives_interval":       limit("DATABASE_KEEPALIVE_INTERVAL", positiveSeconds, strong),
	"keepalives_count":          limit("DATABASE_KEEPALIVE_COUNT", number, strong),
	"tcp_user_timeout":          limit("DATABASE_TCP_USER_TIMEOUT", serverDuration, strong),

	"statement_timeout": limit(serverLimits["statement_timeout"], serverDuration, strong),
	"lock_timeout":      limit(serverLimits["lock_timeout"], serverDuration, strong),
	"idle_in_transaction_session_timeout": limit(serverLimits["idle_in_transaction_session_timeout"], serverDuration,
		strong),

	"default_query_exec_mode":    keep("cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"),
	"statement_cache_capacity":   cacheSize,
	"description_cache_capacity": descriptions,

	"pool_max_conns":                limit("DATABASE_POOL_MAX_CONNS", number, strong),
	"pool_min_conns":                limit("DATABASE_POOL_MIN_IDLE_CONNS", number, weak),
	"pool_min_idle_conns":           limit("DATABASE_POOL_MIN_IDLE_CONNS", number, strong),
	"pool_max_conn_lifetime":        limit("DATABASE_POOL_MAX_CONN_LIFETIME", goDuration, strong),
	"pool_max_conn_lifetime_jitter": limit("DATABASE_POOL_MAX_CONN_LIFETIME_JITTER", goDuration, strong),
	"pool_max_conn_idle_time":       limit("DATABASE_POOL_MAX_CONN_IDLE_TIME", goDuration, strong),
	"pool_ping_timeout":             limit("DATABASE_POOL_PING_TIMEOUT", goDuration, strong),
	"pool_health_check_period":      drop("idle connections are checked every minute"),
}

// serverLimits are the settings of the server that are variables of their own.
var serverLimits = map[string]string{
	"statement_timeout":                   "DATABASE_STATEMENT_TIMEOUT",
	"lock_timeout":                        "DATABASE_LOCK_TIMEOUT",
	"idle_in_transaction_session_timeout": "DATABASE_IDLE_IN_TRANSACTION_TIMEOUT",
}

const strong, weak = false, true

const noRevocation = "asks for a revocation list, which pgx does not read"

var utf8Names = []string{"auto", "UTF8", "utf8", "UTF-8", "utf-8", "unicode", "UNICODE"}

// keep leaves a parameter to pgx. With words, the value must be one of them.
func keep(words ...string) param {
	return func(p *parser, name, value string) (string, string) {
		if value == "" {
			return "", "" // as libpq: not set
		}
		if len(words) > 0 && !slices.Contains(words, value) {
			return noSuchValue, "write one of " + list(words)
		}
		p.Params[name] = value
		return "", ""
	}
}

var authMethods = []string{"password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none"}

// requireAuth checks a list of methods to log in with: all wanted, or all with a ! and unwanted.
// pgx takes spaces in it, and libpq does not.
func requireAuth(p *parser, name, value string) (detail, hint string) {
	methods := strings.Split(strings.ReplaceAll(value, " ", ""), ",")
	unwanted := strings.HasPrefix(methods[0], "!")
	for i, m := range methods {
		method, marked := strings.CutPrefix(m, "!")
		if value != "" && (marked != unwanted || !slices.Contains(authMethods, method) ||
			slices.Contains(methods[:i], m)) {
			return noSuchValue, "write some of " + list(authMethods) + " with commas, or each with a ! to rule it out"
		}
	}
	return keep()(p, name, strings.Join(methods, ","))
}

// set makes a parameter a setting of the server.
func set(setting string) param {
	return func(p *parser, name, value string) (string, string) {
		if _, ok := p.Settings[setting]; ok && p.Settings[setting] != value {
			p.note(name + " wins over another parameter or options")
		}
		p.Settings[setting] = value
		return "", ""
	}
}

// limit makes a parameter set a variable. Otherwise nearly all of these would reach the server as
// unknown settings. A weak one yields to other parameters with the same meaning.
func limit(variable string, convert func(string) (string, string), weak bool) param {
	return func(p *parser, name, value string) (string, string) {
		if value == "" {
			return "", ""
		}
		text, detail := convert(value)
		if detail != "" {
			return detail, "correct it, or take it out"
		}
		other, taken := p.Limits[variable]
		switch {
		case text == "":
			p.note(name + " is left out: its value stands for the default")
		case taken && other.Text == text:
		case taken && weak:
			p.note(name + " is left out: " + other.Param + " says otherwise")
		case taken:
			return "says something else than " + other.Param, "take one of them out"
		default:
			p.Limits[variable] = Limit{Param: name, Text: text}
		}
		return "", ""
	}
}

// drop leaves a parameter out, with a note that says why.
func drop(why string) param {
	return func(p *parser, name, value string) (string, string) {
		if value != "" {
			p.note(name + " is left out: " + why)
		}
		return "", ""
	}
}

// dropOnly drops values that ask for nothing that pgx lacks. It refuses others.
func dropOnly(why, detail, hint string, harmless ...string) param {
	return func(p *parser, name, value string) (string, string) {
		if slices.Contains(harmless, value) {
			return drop(why)(p, name, value)
		}
		return refuse(detail, hint)(p, name, value)
	}
}

func refuse(detail, hint string) param {
	return func(_ *parser, _, value string) (string, string) {
		if value == "" {
			return "", ""
		}
		return detail, hint
	}
}

// hold leaves a parameter to takeParts or settleTLS.
func hold(*parser, string, string) (detail, hint string) { return "", "" }

// descriptions is the size of the cache that the mode cache_describe needs. DATABASE_PGBOUNCER
// chooses that mode.
func descriptions(p *parser, name, value string) (detail, hint string) {
	n, bad := number(value)
	mode := p.raw["default_query_exec_mode"]
	switch {
	case value != "" && bad != "":
		return bad, "write a number, or take it out"
	case n == "0" && (mode == "" || mode == "cache_describe"):
		return "is 0, and no query would work in the mode cache_describe",
			"write default_query_exec_mode=describe_exec, or take it out"
	}
	return keep()(p, name, value)
}

var serverSettings = strings.Fields(`search_path timezone datestyle intervalstyle extra_float_digits work_mem
	maintenance_work_mem
	jit role session_replication_role default_transaction_isolation default_transaction_read_only
		default_transaction_deferrable
	transaction_timeout idle_session_timeout synchronous_commit client_min_messages row_security bytea_output
	standard_conforming_strings statement_mem lc_messages log_min_duration_statement plan_cache_mode enable_seqscan
		random_page_cost
	effective_cache_size max_parallel_workers_per_gather client_connection_check_interval tcp_keepalives_idle
	tcp_keepalives_interval tcp_keepalives_count geqo`)

// plainName matches the usual form of a parameter's name. Other names are not shown.
var plainName = regexp.MustCompile(`^[a-z][A-Za-z0-9_]{0,40}$`)

// find returns the param of a parameter, or nil if the parameter is unknown.
func find(name string) param {
	if f, ok := libpqParams[name]; ok {
		return f
	}
	if f, ok := driverParams[name]; ok {
		return f
	}
	if lower := strings.ToLower(name); strings.Contains(name, ".") || slices.Contains(serverSettings, lower) {
		return set(lower)
	}
	if strings.HasPrefix(name, "x-") {
		return drop("it is golang-migrate's")
	}
	return nil
}

// findSimilar returns the parameter that differs only in case, hyphens and underscores, or "".
func findSimilar(name string) string {
	plain := strings.NewReplacer("-", "", "_", "")
	for _, known := range slices.Sorted(maps.Keys(libpqParams)) {
		if strings.EqualFold(plain.Replace(known), plain.Replace(name)) {
			return known
		}
	}
	return ""
}

// checkName reports whether a parameter is known and new. Its name is shown only if it cannot be a
// piece of a secret.
func (p *parser) checkName(name string, mayShow bool) bool {
	// Any extension may define a name with a dot, so such a name can be part of a secret too.
	if find(name) != nil && (mayShow || !strings.Contains(name, ".")) {
		if _, twice := p.raw[name]; twice {
			p.add(name, "is there twice", "take one of them out")
			return false
		}
		return true
	}
	hint := "take it out; a setting of the server goes into options='-c name=value'"
	if p.url {
		hint = "take it out; a setting of the server goes into options=-c%20name%3Dvalue, and an & inside a value " +
			"is %26"
	}
	if known := findSimilar(name); known != "" {
		p.add("", "has a parameter that is not known", "write "+known)
	} else if mayShow && plainName.MatchString(name) {
		p.add(name, "is not known", hint)
	} else {
		p.add("", "has a parameter that is not known", hint)
	}
	return false
}

// applyParams applies the parameters in alphabetical order, weak ones last, and settles those that
// depend on each other.
func (p *parser) applyParams() {
	names := slices.Sorted(maps.Keys(p.raw))
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	for _, name := range names {
		if strings.Contains(p.raw[name], "\x00") {
			p.add(name, "has a NUL character in it", "take it out: PostgreSQL has none")
			continue // it would start a new parameter in the startup message
		}
		if detail, hint := find(name)(p, name, p.raw[name]); detail != "" {
			p.add(name, detail, hint)
		}
	}
	p.settleTLS()
}

func rank(name string) int {
	switch name {
	case "fallback_application_name", "pool_min_conns", "keepalives_idle", "socket_timeout", "socketTimeout",
		"connectTimeout", "query_timeout", "command_timeout", "schema", "currentSchema", "schema_search_path":
		return 1 // these yield to parameters with the same meaning
	case "options": // a parameter wins over it on the server too
		return 2
	}
	return 0
}

// IsPgx reports whether a parameter is pgx's own, which libpq does not know.
func IsPgx(name string) bool {
	switch name {
	case "default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity", "krbspn":
		return true
	}
	return false
}

func list(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
