package dsn

import (
	"slices"
	"strings"
)

// driverParams are parameters of other drivers and poolers, for a URL that programs in several
// languages share. Each is translated where it has a meaning here.
var driverParams = map[string]param{
	// Prisma: https://www.prisma.io/docs/orm/overview/databases/postgresql
	"connection_limit":             limit("DATABASE_POOL_MAX_CONNS", number, strong),
	"pool_timeout":                 limit("DATABASE_ACQUIRE_TIMEOUT", seconds, strong),
	"socket_timeout":               limit("DATABASE_STATEMENT_TIMEOUT", seconds, weak),
	"max_connection_lifetime":      limit("DATABASE_POOL_MAX_CONN_LIFETIME", seconds, strong),
	"max_idle_connection_lifetime": limit("DATABASE_POOL_MAX_CONN_IDLE_TIME", seconds, strong),
	"pgbouncer":                    limit("DATABASE_PGBOUNCER", boolean, strong),
	"schema":                       schema,
	"statement_cache_size":         cacheSize, // asyncpg's too
	"sslaccept":                    hold,
	"sslidentity": refuse("names a PKCS#12 file, which Go cannot read",
		"split it with openssl pkcs12 -in FILE -clcerts -nokeys -out client.crt, and -nocerts -nodes -out "+
			"client.key, then use sslcert and sslkey"),
	"single_use_connections": drop("connections are always reused"),

	// JDBC
	"currentSchema":                 schemaList,
	"ApplicationName":               limit("DATABASE_APPLICATION_NAME", verbatim, strong),
	"loginTimeout":                  limit("DATABASE_CONNECT_TIMEOUT", seconds, strong),
	"connectTimeout":                limit("DATABASE_CONNECT_TIMEOUT", seconds, weak), // without the login
	"socketTimeout":                 limit("DATABASE_STATEMENT_TIMEOUT", seconds, weak),
	"prepareThreshold":              zeroMeansUnnamed,
	"targetServerType":              targetServerType,
	"tcpKeepAlive":                  drop("keepalive is on unless DATABASE_KEEPALIVE_IDLE is off"),
	"loadBalanceHosts":              drop("hosts are tried in order"),
	"reWriteBatchedInserts":         drop("it is about JDBC's batches"),
	"defaultRowFetchSize":           drop("pgx reads rows as they come"),
	"stringtype":                    drop("pgx takes the type of a parameter from the statement"),
	"preparedStatementCacheQueries": drop("use statement_cache_capacity"),

	// node-postgres and postgres.js
	"uselibpqcompat":          drop("sslmode has the same meaning as in libpq"),
	"max":                     limit("DATABASE_POOL_MAX_CONNS", number, strong),
	"idle_timeout":            limit("DATABASE_POOL_MAX_CONN_IDLE_TIME", seconds, strong),
	"idleTimeoutMillis":       limit("DATABASE_POOL_MAX_CONN_IDLE_TIME", serverDuration, strong),
	"connectionTimeoutMillis": limit("DATABASE_ACQUIRE_TIMEOUT", serverDuration, strong),
	"query_timeout":           limit("DATABASE_STATEMENT_TIMEOUT", serverDuration, weak),
	"max_lifetime":            limit("DATABASE_POOL_MAX_CONN_LIFETIME", seconds, strong),
	"prepare":                 falseMeansUnnamed,
	"fetch_types":             drop("pgx knows the types it needs"),

	// lib/pq
	"binary_parameters":              drop("pgx sends parameters in binary form where it can"),
	"disable_prepared_binary_result": drop("pgx reads results in binary form where it can"),

	// Python: asyncpg, SQLAlchemy, Django
	"prepared_statement_cache_size": cacheSize,
	"command_timeout":               limit("DATABASE_STATEMENT_TIMEOUT", seconds, weak),
	"conn_max_age":                  limit("DATABASE_POOL_MAX_CONN_LIFETIME", seconds, strong),

	// Rails, Ecto, Doctrine
	"pool":                limit("DATABASE_POOL_MAX_CONNS", number, strong),
	"pool_size":           limit("DATABASE_POOL_MAX_CONNS", number, strong),
	"checkout_timeout":    limit("DATABASE_ACQUIRE_TIMEOUT", seconds, strong),
	"prepared_statements": falseMeansUnnamed,
	"schema_search_path":  schemaList,
	"encoding": dropOnly("pgx always uses UTF8",
		"asks for another encoding than UTF8, which pgx always uses", "take it out", utf8Names...),
	"charset": dropOnly("pgx always uses UTF8",
		"asks for another encoding than UTF8, which pgx always uses", "take it out", utf8Names...),
	"adapter":           drop("it names a driver"),
	"reaping_frequency": drop("idle connections are checked every minute"),
	"advisory_locks":    drop("it is about Rails' migrations"),
	"serverVersion":     drop("the server tells its version"),

	// TablePlus
	"statusColor": tablePlus, "env": tablePlus, "name": tablePlus, "tLSMode": tablePlus, "usePrivateKey": tablePlus,
	"safeModeLevel": tablePlus, "advancedSafeModeLevel": tablePlus, "driverVersion": tablePlus, "lazyload": tablePlus,

	// Marks of poolers
	"supa":       drop("it is Supabase's mark on its pooler"),
	"workaround": drop("it is a mark of Vercel's"),
}

var tablePlus = drop("it is TablePlus's")

// schema is Prisma's: one schema.
func schema(p *parser, name, value string) (detail, hint string) {
	if value == "" {
		return "", ""
	}
	return schemaList(p, name, quoteIdentifier(value))
}

func schemaList(p *parser, name, value string) (detail, hint string) {
	if value == "" {
		return "", ""
	}
	if _, taken := p.Settings["search_path"]; taken {
		p.note(name + " is left out: search_path says otherwise")
		return "", ""
	}
	p.note(name + " became search_path")
	return set("search_path")(p, name, value)
}

func cacheSize(p *parser, name, value string) (detail, hint string) {
	const capacity = "statement_cache_capacity"
	n, bad := number(value)
	switch {
	case value == "":
	case bad != "":
		return bad, "write a number, or take it out"
	case n == "0": // pgx runs no query with a cache of that size
		p.unnamed(name + "=0")
	default:
		p.Params[capacity] = value
		if name != capacity {
			p.note(name + " became " + capacity)
		}
	}
	return "", ""
}

func zeroMeansUnnamed(p *parser, name, value string) (detail, hint string) {
	if value == "0" {
		p.unnamed(name + "=0")
		return "", ""
	}
	return drop("pgx prepares each statement at its first use")(p, name, value)
}

func falseMeansUnnamed(p *parser, name, value string) (detail, hint string) {
	switch value {
	case "false", "0", "no", "off":
		p.unnamed(name + "=" + value)
		return "", ""
	}
	return drop("pgx prepares each statement at its first use")(p, name, value)
}

// unnamed switches named prepared statements off.
func (p *parser) unnamed(why string) {
	if _, chosen := p.raw["default_query_exec_mode"]; chosen {
		p.note(why + " is left out: default_query_exec_mode says otherwise")
		return
	}
	p.Params["default_query_exec_mode"] = "cache_describe"
	p.note(why + " became default_query_exec_mode=cache_describe")
}

func targetServerType(p *parser, name, value string) (detail, hint string) {
	attrs, ok := map[string]string{
		"any": "any", "primary": "primary", "master": "primary", "secondary": "standby", "slave": "standby",
		"preferSecondary": "prefer-standby", "preferSlave": "prefer-standby",
	}[value]
	switch {
	case value == "":
		return "", ""
	case !ok:
		return "has no counterpart here", "use target_session_attrs"
	}
	if other := p.raw["target_session_attrs"]; other != "" && other != attrs {
		return "says something else than target_session_attrs", "take one of them out"
	}
	p.Params["target_session_attrs"] = attrs
	p.note(name + " became target_session_attrs=" + attrs)
	return "", ""
}

// sslModes are libpq's, weakest first.
var sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

// sslWords are the values that drivers write for ssl, besides the names of the modes.
var sslWords = map[string]string{
	"true": "require", "1": "require", "on": "require", "yes": "require", "no-verify": "require",
	"false": "disable", "0": "disable", "off": "disable", "no": "disable",
}

// settleTLS combines libpq's sslmode and requiressl, Prisma's sslaccept, and the ssl of many
// drivers into one sslmode.
func (p *parser) settleTLS() {
	mode := p.raw["sslmode"]
	switch {
	case mode == "no-verify": // node-postgres
		p.note("sslmode=no-verify became sslmode=require")
		mode = "require"
	case mode != "" && !slices.Contains(sslModes, mode):
		p.add("sslmode", noSuchValue, "write one of "+list(sslModes))
		return
	}

	if ssl := p.raw["ssl"]; ssl != "" {
		meant, ok := sslWords[strings.ToLower(ssl)]
		if slices.Contains(sslModes, ssl) {
			meant, ok = ssl, true
		}
		switch {
		case !ok:
			p.add("ssl", noSuchValue, "use sslmode instead: "+list(sslModes))
		case mode == "":
			p.note("ssl became sslmode=" + meant)
			mode = meant
		case (meant == "disable") != (mode == "disable"), slices.Index(sslModes, meant) > slices.Index(sslModes, mode):
			p.add("ssl", "says something else than sslmode", "take one of them out")
		default:
			p.note("ssl is left out: sslmode says it")
		}
	}
	switch required := p.raw["requiressl"]; {
	case required == "":
	case required != "1":
		p.note("requiressl is left out: its value asks for nothing")
	case mode == "":
		p.note("requiressl became sslmode=require")
		mode = "require"
	case mode == "require" || strings.HasPrefix(mode, "verify-"):
		p.note("requiressl is left out: sslmode says it")
	default:
		p.add("requiressl", "says something else than sslmode", "take it out: libpq has given it up")
	}
	verifies := strings.HasPrefix(mode, "verify-")
	switch accept := p.raw["sslaccept"]; {
	case accept == "":
	case accept == "strict" && mode == "verify-full":
		p.note("sslaccept is left out: sslmode says it")
	case accept == "strict" && mode == "disable", accept == "accept_invalid_certs" && verifies:
		p.add("sslaccept", "says something else than sslmode", "take one of them out")
	case accept == "strict":
		mode = "verify-full"
		p.note("sslaccept=strict became sslmode=verify-full")
	case accept == "accept_invalid_certs":
		if mode == "" {
			mode = "require"
		}
		p.note("sslaccept=accept_invalid_certs does not verify the server")
	default:
		p.add("sslaccept", "is neither strict nor accept_invalid_certs", "use sslmode instead")
	}
	if mode != "" {
		p.Params["sslmode"] = mode
	}
}

// quoteIdentifier quotes a schema's name for search_path.
func quoteIdentifier(name string) string {
	plain := strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_0123456789") == "" &&
		strings.IndexAny(name, "0123456789") != 0
	if plain {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
