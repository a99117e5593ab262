package dsn_test

import (
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgconfig/internal/dsn"
)

// TestParam: every parameter that is accepted has an effect or a note. Any other is a problem.
func TestParam(t *testing.T) {
	t.Parallel()
	const stray = "problem: has the parameter options, which has a word that is neither a flag nor name=value: write a " +
		"backslash before a space inside a value"
	const base = "postgres://u@h:1/d"
	const methods = "write some of password, md5, gss, sspi, scram-sha-256, oauth or none with commas, or each with a ! " +
		"to rule it out"
	for query, want := range map[string]string{
		// TLS
		"sslmode=require": base + "?sslmode=require",
		"sslmode=":        base,
		"sslmode=verify": "problem: has a value for sslmode that does not exist: write one of " +
			"disable, allow, prefer, require, verify-ca or verify-full",
		"sslmode=no-verify": base +
			"?sslmode=require\nnote: sslmode=no-verify became sslmode=require",
		"ssl=true":        base + "?sslmode=require\nnote: ssl became sslmode=require",
		"ssl=require":     base + "?sslmode=require\nnote: ssl became sslmode=require",
		"ssl=1":           base + "?sslmode=require\nnote: ssl became sslmode=require",
		"ssl=False":       base + "?sslmode=disable\nnote: ssl became sslmode=disable",
		"ssl=0":           base + "?sslmode=disable\nnote: ssl became sslmode=disable",
		"ssl=no-verify":   base + "?sslmode=require\nnote: ssl became sslmode=require",
		"ssl=verify-full": base + "?sslmode=verify-full\nnote: ssl became sslmode=verify-full",
		"ssl=":            base,
		"ssl=maybe": "problem: has a value for ssl that does not exist: " +
			"use sslmode instead: disable, allow, prefer, require, verify-ca or verify-full",
		"ssl=true&sslmode=verify-full": base + "?sslmode=verify-full\nnote: ssl is left out: sslmode says it",
		"ssl=false&sslmode=disable":    base + "?sslmode=disable\nnote: ssl is left out: sslmode says it",
		"ssl=allow&sslmode=require":    base + "?sslmode=require\nnote: ssl is left out: sslmode says it",
		"ssl=verify-full&sslmode=require": "problem: has the parameter ssl, which says something else than " +
			"sslmode: take one of them out",
		"ssl=require&sslmode=prefer": "problem: has the parameter ssl, which says something else than " +
			"sslmode: take one of them out",
		"ssl=true&sslmode=allow": "problem: has the parameter ssl, which says something else than " +
			"sslmode: take one of them out",
		"ssl=true&sslmode=disable": "problem: has the parameter ssl, which says something else than " +
			"sslmode: take one of them out",
		"ssl=false&sslmode=require": "problem: has the parameter ssl, which says something else than " +
			"sslmode: take one of them out",
		"requiressl=1": base + "?sslmode=require\nnote: requiressl became sslmode=require",
		"requiressl=0": base + "\nnote: requiressl is left out: its value asks for nothing",
		"requiressl=":  base,
		"requiressl=1&sslmode=require": base +
			"?sslmode=require\nnote: requiressl is left out: sslmode says it",
		"requiressl=1&sslmode=prefer": "problem: has the parameter requiressl, which says something else " +
			"than sslmode: take it out: libpq has given it up",
		"sslaccept=strict": base +
			"?sslmode=verify-full\nnote: sslaccept=strict became sslmode=verify-full",
		"sslaccept=strict&sslmode=verify-ca": base +
			"?sslmode=verify-full\nnote: sslaccept=strict became sslmode=verify-full",
		"sslaccept=strict&sslmode=require": base +
			"?sslmode=verify-full\nnote: sslaccept=strict became sslmode=verify-full",
		"sslaccept=strict&sslmode=allow": base +
			"?sslmode=verify-full\nnote: sslaccept=strict became sslmode=verify-full",
		"sslaccept=strict&sslmode=prefer": base +
			"?sslmode=verify-full\nnote: sslaccept=strict became sslmode=verify-full",
		"sslaccept=strict&sslmode=disable": "problem: has the parameter sslaccept, which says something else " +
			"than sslmode: take one of them out",
		"sslaccept=strict&sslmode=verify-full": base +
			"?sslmode=verify-full\nnote: sslaccept is left out: sslmode says it",
		"sslaccept=accept_invalid_certs": base +
			"?sslmode=require\nnote: sslaccept=accept_invalid_certs does not verify the server",
		"sslaccept=accept_invalid_certs&sslmode=prefer": base +
			"?sslmode=prefer\nnote: sslaccept=accept_invalid_certs does not verify the server",
		"sslaccept=accept_invalid_certs&sslmode=verify-full": "problem: has the parameter sslaccept, which says " +
			"something else than sslmode: take one of them out",
		"sslaccept=maybe": "problem: has the parameter sslaccept, which is neither strict nor " +
			"accept_invalid_certs: use sslmode instead",
		"sslcert=c&sslkey=k&sslrootcert=/r/a": base + "?sslcert=c&sslkey=k&sslrootcert=/r/a",
		"sslcert=c":                           base + "?sslcert=c",
		"sslpassword=s":                       base + "?sslpassword=s",
		"ssl_min_protocol_version=TLSv1.2": base +
			"\nnote: ssl_min_protocol_version is left out: Go's TLS starts at version 1.2",
		"ssl_min_protocol_version=TLSv1.3": "problem: has the parameter ssl_min_protocol_version, which asks for " +
			"a version of TLS that pgx cannot insist on: take it out, and set it on the server",
		"ssl_max_protocol_version=TLSv1.3": base +
			"\nnote: ssl_max_protocol_version is left out: it is the newest that Go knows",
		"ssl_max_protocol_version=TLSv1.2": "problem: has the parameter ssl_max_protocol_version, which asks for " +
			"an older version of TLS: take it out",
		"sslcrl=f": "problem: has the parameter sslcrl, which asks for a revocation " +
			"list, which pgx does not read: take it out",
		"sslcrldir=f": "problem: has the parameter sslcrldir, which asks for a revocation " +
			"list, which pgx does not read: take it out",
		"sslcrl=": base,
		"requirepeer=postgres": "problem: has the parameter requirepeer, which asks for a check of " +
			"the socket's owner, which pgx does not make: take it out, and connect with TLS",
		"gssencmode=disable": base +
			"\nnote: gssencmode is left out: pgx does not encrypt with GSSAPI",
		"gssencmode=require": "problem: has the parameter gssencmode, which asks for GSSAPI " +
			"encryption, which pgx does not have: use sslmode",
		"client_encoding=UTF8": base + "\nnote: client_encoding is left out: pgx always uses UTF8",
		"client_encoding=LATIN1": "problem: has the parameter client_encoding, which asks for another " +
			"encoding than UTF8, which pgx always uses: take it out",
		"hostaddr=1.2.3.4": "problem: has the parameter hostaddr, which is not known to pgx: give " +
			"the address as the host",
		"krbspn=x":                            base + "\nkrbspn=x",
		"channel_binding=require":             base + "?channel_binding=require",
		"require_auth=":                       base,
		"require_auth=scram-sha-256,%20oauth": base + "?require_auth=scram-sha-256%2Coauth",
		"require_auth=!password,!none":        base + "?require_auth=%21password%2C%21none",
		"require_auth=bogus":                  "problem: has a value for require_auth that does not exist: " + methods,
		"require_auth=md5,!gss":               "problem: has a value for require_auth that does not exist: " + methods,
		"require_auth=!md5,gss":               "problem: has a value for require_auth that does not exist: " + methods,
		"require_auth=md5,md5":                "problem: has a value for require_auth that does not exist: " + methods,
		"require_auth=md5,":                   "problem: has a value for require_auth that does not exist: " + methods,
		"target_session_attrs=master": "problem: has a value for target_session_attrs that does not exist: " +
			"write one of any, read-write, read-only, primary, standby or prefer-standby",
		"load_balance_hosts=random": base +
			"\nnote: load_balance_hosts is left out: hosts are tried in order",
		"load_balance_hosts=": base,

		// Limits
		"connect_timeout=7": base + "\nDATABASE_CONNECT_TIMEOUT=7s by connect_timeout",
		"connect_timeout=-1": "problem: has the parameter connect_timeout, which is not " +
			"a number of seconds: correct it, or take it out",
		"connect_timeout=2147484": "problem: has the parameter connect_timeout, which is not " +
			"a number of seconds: correct it, or take it out",
		"connect_timeout=2147483": base +
			"\nDATABASE_CONNECT_TIMEOUT=596h31m23s by connect_timeout",
		"connect_timeout=":       base,
		"application_name=a%20b": base + "\nDATABASE_APPLICATION_NAME=a b by application_name",
		"fallback_application_name=a": base +
			"\nDATABASE_APPLICATION_NAME=a by fallback_application_name",
		"application_name=b&fallback_application_name=a": base +
			"\nDATABASE_APPLICATION_NAME=b by application_name\nnote: fallback_application_name is left out: " +
			"application_name says otherwise",
		"application_name=a&fallback_application_name=a": base + "\nDATABASE_APPLICATION_NAME=a by application_name",
		"keepalives=0&keepalives_idle=9": base +
			"\nDATABASE_KEEPALIVE_IDLE=off by keepalives\nnote: keepalives_idle is left out: keepalives says otherwise",
		"keepalives=1": base +
			"\nnote: keepalives is left out: its value stands for the default",
		"keepalives=2": "problem: has the parameter keepalives, which is not 0 or " +
			"1: correct it, or take it out",
		"keepalives_idle=0": base +
			"\nnote: keepalives_idle is left out: its value stands for the default",
		"keepalives_count=5": base + "\nDATABASE_KEEPALIVE_COUNT=5 by keepalives_count",
		"keepalives_count=-5": "problem: has the parameter keepalives_count, which is " +
			"not a whole number: correct it, or take it out",
		"connection_limit=7&pool_max_conns=7": base + "\nDATABASE_POOL_MAX_CONNS=7 by connection_limit",
		"connection_limit=7&pool_max_conns=8": "problem: has the parameter pool_max_conns, which says " +
			"something else than connection_limit: take one of them out",
		"socket_timeout=7&statement_timeout=8": base +
			"\nDATABASE_STATEMENT_TIMEOUT=8ms by statement_timeout\nnote: socket_timeout is left out: " +
			"statement_timeout says otherwise",
		"pool_max_conn_lifetime=1h30m": base +
			"\nDATABASE_POOL_MAX_CONN_LIFETIME=1h30m by pool_max_conn_lifetime",
		"pool_max_conn_lifetime=soon": "problem: has the parameter pool_max_conn_lifetime, which " +
			"is not a duration such as 5s or 10m: correct it, or take it out",
		"pool_max_conn_lifetime=-1s": "problem: has the parameter pool_max_conn_lifetime, which " +
			"is not a duration such as 5s or 10m: correct it, or take it out",
		"pool_max_conn_lifetime=0s": base +
			"\nDATABASE_POOL_MAX_CONN_LIFETIME=0s by pool_max_conn_lifetime",
		"pool_max_conn_lifetime=2147483647ms": base +
			"\nDATABASE_POOL_MAX_CONN_LIFETIME=2147483647ms by pool_max_conn_lifetime",
		"pool_max_conn_lifetime=2147483648ms": "problem: has the parameter pool_max_conn_lifetime, which " +
			"is not a duration such as 5s or 10m: correct it, or take it out",
		"pgbouncer=TRUE": base + "\nDATABASE_PGBOUNCER=true by pgbouncer",
		"pgbouncer=off":  base + "\nDATABASE_PGBOUNCER=false by pgbouncer",
		"pgbouncer=maybe": "problem: has the parameter pgbouncer, which is not true " +
			"or false: correct it, or take it out",
		"default_query_exec_mode=exec": base + "\ndefault_query_exec_mode=exec",
		"default_query_exec_mode=fast": "problem: has a value for default_query_exec_mode that " +
			"does not exist: write one of cache_statement, cache_describe, describe_exec, exec or simple_protocol",
		"statement_cache_capacity=9": base + "\nstatement_cache_capacity=9",
		"statement_cache_capacity=many": "problem: has the parameter statement_cache_capacity, " +
			"which is not a whole number: write a number, or take it out",
		"description_cache_capacity=": base,
		"description_cache_capacity=0": "problem: has the parameter description_cache_capacity, which is 0, and no " +
			"query would work in the mode cache_describe: write default_query_exec_mode=describe_exec, or take it out",
		"description_cache_capacity=0&default_query_exec_mode=cache_describe": "problem: has the parameter " +
			"description_cache_capacity, which is 0, and no query would work in the mode cache_describe: write " +
			"default_query_exec_mode=describe_exec, or take it out",
		"description_cache_capacity=0&default_query_exec_mode=describe_exec": base +
			"\ndefault_query_exec_mode=describe_exec\ndescription_cache_capacity=0",
		"description_cache_capacity=9": base + "\ndescription_cache_capacity=9",
		"description_cache_capacity=many": "problem: has the parameter description_cache_capacity, " +
			"which is not a whole number: write a number, or take it out",
		"statement_cache_capacity=0&default_query_exec_mode=cache_statement": base +
			"\ndefault_query_exec_mode=cache_statement\nnote: statement_cache_capacity=0 is left out: " +
			"default_query_exec_mode says otherwise",
		"statement_cache_capacity=00": base +
			"\ndefault_query_exec_mode=cache_describe\nnote: statement_cache_capacity=0 became " +
			"default_query_exec_mode=cache_describe",
		"statement_cache_capacity=0": base +
			"\ndefault_query_exec_mode=cache_describe\nnote: statement_cache_capacity=0 became " +
			"default_query_exec_mode=cache_describe",

		// Settings of the server
		"work_mem=8MB":       base + "?options=-c%20work_mem%3D8MB",
		"TimeZone=UTC":       base + "?options=-c%20timezone%3DUTC",
		"app.Tenant=7":       base + "?options=-c%20app.tenant%3D7",
		"search_path=a,%20b": base + `?options=-c%20search_path%3Da%2C%5C%20b`,
		"TimeZone=UTC&timezone=CET": base +
			"?options=-c%20timezone%3DCET\nnote: timezone wins over another parameter or options",
		"application.name=x": base + "?options=-c%20application.name%3Dx",
		"tint=red": "problem: has the parameter tint, which is not known: take it out; " +
			"a setting of the server goes into options=-c%20name%3Dvalue, and an & inside a value is %26",
		"TINT=red": "problem: has a parameter that is not known: take it out; a setting " +
			"of the server goes into options=-c%20name%3Dvalue, and an & inside a value is %26",
		"password=a&horse=b": "problem: has a parameter that is not known: take it out; a setting " +
			"of the server goes into options=-c%20name%3Dvalue, and an & inside a value is %26",
		"work_mem=1MB&work_mem=2MB": "problem: has the parameter work_mem, which is there twice: take one " +
			"of them out",
		"sslmode=disable&sslmode=verify-full": "problem: has the parameter sslmode, which is there twice: take one " +
			"of them out",
		"tint": "problem: has a parameter without a value: write name=value, joined " +
			"by &; write an & inside a value as %26",
		"tint&work_mem=8%": "problem: has a parameter without a value: write name=value, joined by &; write an & inside " +
			"a value as %26\nproblem: has a % in the parameters that is not followed by two hexadecimal digits: " +
			"write % as %25",
		"options=-c+jit%3Doff&work_mem=8%": "problem: has the parameter options, which has a + where a space should be: " +
			"write a space as %20\nproblem: has a % in the parameters that is not followed by two hexadecimal " +
			"digits: write % as %25",
		"work_mem=8%": "problem: has a % in the parameters that is not followed by two " +
			"hexadecimal digits: write % as %25",
		"work_mem=8%00":  "problem: has a NUL character (%00) in the parameters: take it out: PostgreSQL has none",
		"&work_mem=8MB&": base + "?options=-c%20work_mem%3D8MB",

		// options
		"options=-c%20statement_timeout%3D1.5min": base +
			"\nDATABASE_STATEMENT_TIMEOUT=1m30s by statement_timeout in options",
		"options=-c%20STATEMENT_TIMEOUT%3D7s": base +
			"\nDATABASE_STATEMENT_TIMEOUT=7s by statement_timeout in options",
		"options=-c%20work_mem%3D1MB%20-c%20work_mem%3D2MB%20-c%20lock_timeout%3D1%20-c%20LOCK-timeout%3D2": base +
			"?options=-c%20work_mem%3D2MB\nDATABASE_LOCK_TIMEOUT=2ms by lock_timeout in options\n" +
			"note: work_mem is in options more than once: the last one counts\n" +
			"note: lock_timeout is in options more than once: the last one counts",
		"options=--lock-timeout%3D7": base + "\nDATABASE_LOCK_TIMEOUT=7ms by lock_timeout in options",
		"options=-clock_timeout%3D7&lock_timeout=8": base +
			"\nDATABASE_LOCK_TIMEOUT=8ms by lock_timeout\n" +
			"note: lock_timeout in options is left out: lock_timeout says otherwise",
		"options=-c%20lock_timeout%3D1.5MIN": "problem: has the parameter options, which sets " +
			"lock_timeout to a value that is not a duration: PostgreSQL counts in milliseconds, or write 30s: " +
			"correct it, or take it out",
		"options=-c%20idle_in_transaction_session_timeout%3D0": base +
			"\nDATABASE_IDLE_IN_TRANSACTION_TIMEOUT=0s by idle_in_transaction_session_timeout in options",
		"options=-c%20application_name%3Dweb": base + "\nDATABASE_APPLICATION_NAME=web by application_name in options",
		"options=-c%20Search-Path%3Da":        base + "?options=-c%20search_path%3Da",
		"options=-c%20work_mem%3D1MB&work_mem=2MB": base +
			"?options=-c%20work_mem%3D2MB\nnote: work_mem in options is left out: the parameter says otherwise",
		"options=-c%20work_mem%3D2MB&work_mem=2MB":         base + "?options=-c%20work_mem%3D2MB",
		"options=endpoint%3Dep-x%20-c%20work_mem%3D1MB":    base + "?options=endpoint%3Dep-x%20-c%20work_mem%3D1MB",
		"options=project%3Dp-1":                            base + "?options=project%3Dp-1",
		`options=-c%20a.b%3Dx%5C%20y%5C%5Cz`:               base + `?options=-c%20a.b%3Dx%5C%20y%5C%5Cz`,
		"options=%20%20-d5%09-E%20":                        base + "?options=-d5%20-E",
		"options=-d%205":                                   base + "?options=-d%205",
		"options=-c%20search_path%3D%22$user%22,%20public": stray,
		"options=public":                                   stray,
		"options=-d5%20public":                             stray,
		"options=-c": "problem: has the parameter options, which has a " +
			"setting without a value: write -c name=value, in a URL options=-c%20name%3Dvalue",
		"options=-c%20work_mem": "problem: has the parameter options, which has a " +
			"setting without a value: write -c name=value, in a URL options=-c%20name%3Dvalue",
		"options=-c%20%3D5": "problem: has the parameter options, which has a " +
			"setting without a value: write -c name=value, in a URL options=-c%20name%3Dvalue",
		"options=-c+work_mem%3D1MB": "problem: has the parameter options, which has a + " +
			"where a space should be: write a space as %20",
		"options=--work_mem%3D1MB+--jit%3Doff": "problem: has the parameter options, which has a + " +
			"where a space should be: write a space as %20",
		"options=-c%20TimeZone%3DEtc/GMT+5": base +
			"?options=-c%20timezone%3DEtc/GMT%2B5\nnote: the + in options stands for itself: write a space as %20",
		"application_name=a+b": base +
			"\nDATABASE_APPLICATION_NAME=a+b by application_name\nnote: the + in application_name stands for " +
			"itself: write a space as %20",

		// Prisma
		"schema=public": base + "?options=-c%20search_path%3Dpublic\nnote: schema became search_path",
		"schema=My%20App": base +
			"?options=-c%20search_path%3D%22My%5C%20App%22\nnote: schema became search_path",
		"schema=a%22b": base +
			"?options=-c%20search_path%3D%22a%22%22b%22\nnote: schema became search_path",
		"schema=a1": base + "?options=-c%20search_path%3Da1\nnote: schema became search_path",
		"schema=1a": base + "?options=-c%20search_path%3D%221a%22\nnote: schema became search_path",
		"schema=":   base,
		"schema=a&search_path=b": base +
			"?options=-c%20search_path%3Db\nnote: schema is left out: search_path says otherwise",
		"pool_timeout=9": base + "\nDATABASE_ACQUIRE_TIMEOUT=9s by pool_timeout",
		"statement_cache_size=0": base +
			"\ndefault_query_exec_mode=cache_describe\nnote: statement_cache_size=0 became " +
			"default_query_exec_mode=cache_describe",
		"statement_cache_size=100": base +
			"\nstatement_cache_capacity=100\nnote: statement_cache_size became statement_cache_capacity",
		"statement_cache_size=": base,
		"statement_cache_size=many": "problem: has the parameter statement_cache_size, which is not a whole number: " +
			"write a number, or take it out",
		"statement_cache_size=0&default_query_exec_mode=exec": base +
			"\ndefault_query_exec_mode=exec\nnote: statement_cache_size=0 is left out: default_query_exec_mode says " +
			"otherwise",
		"sslidentity=id.p12": "problem: has the parameter sslidentity, which names a PKCS#12 file, which Go cannot " +
			"read: split it with openssl pkcs12 -in FILE -clcerts -nokeys -out client.crt, and -nocerts -nodes -out " +
			"client.key, then use sslcert and sslkey",

		// Other drivers
		"uselibpqcompat=true&sslmode=require": base +
			"?sslmode=require\nnote: uselibpqcompat is left out: sslmode has the same meaning as in libpq",
		"binary_parameters=yes": base +
			"\nnote: binary_parameters is left out: pgx sends parameters in binary form where it can",
		"currentSchema=a,b": base +
			"?options=-c%20search_path%3Da%2Cb\nnote: currentSchema became search_path",
		"currentSchema=": base,
		"prepareThreshold=0": base +
			"\ndefault_query_exec_mode=cache_describe\nnote: prepareThreshold=0 became " +
			"default_query_exec_mode=cache_describe",
		"prepareThreshold=5": base +
			"\nnote: prepareThreshold is left out: pgx prepares each statement at its first use",
		"prepared_statements=false": base +
			"\ndefault_query_exec_mode=cache_describe\nnote: prepared_statements=false became " +
			"default_query_exec_mode=cache_describe",
		"prepare=true": base +
			"\nnote: prepare is left out: pgx prepares each statement at its first use",
		"targetServerType=secondary": base +
			"?target_session_attrs=standby\nnote: targetServerType became target_session_attrs=standby",
		"targetServerType=preferPrimary": "problem: has the parameter targetServerType, " +
			"which has no counterpart here: use target_session_attrs",
		"targetServerType=primary&target_session_attrs=standby": "problem: has the parameter targetServerType, " +
			"which says something else than target_session_attrs: take one of them out",
		"targetServerType=primary&target_session_attrs=primary": base +
			"?target_session_attrs=primary\nnote: targetServerType became target_session_attrs=primary",
		"targetServerType=": base,
		"ApplicationName=web&loginTimeout=3": base +
			"\nDATABASE_APPLICATION_NAME=web by ApplicationName\nDATABASE_CONNECT_TIMEOUT=3s by loginTimeout",
		"connectTimeout=3": base + "\nDATABASE_CONNECT_TIMEOUT=3s by connectTimeout",
		"connectTimeout=3&loginTimeout=9": base + "\nDATABASE_CONNECT_TIMEOUT=9s by loginTimeout\n" +
			"note: connectTimeout is left out: loginTimeout says otherwise",
		"password=a&app.key=7": "problem: has a parameter that is not known: take it out; a setting " +
			"of the server goes into options=-c%20name%3Dvalue, and an & inside a value is %26",
		"encoding=unicode": base +
			"\nnote: encoding is left out: pgx always uses UTF8",
		"charset=latin1": "problem: has the parameter charset, which asks " +
			"for another encoding than UTF8, which pgx always uses: take it out",
		"statusColor=686B6F&lazyload=false": base + "\nnote: lazyload is left out: it is TablePlus's\n" +
			"note: statusColor is left out: it is TablePlus's",
		"x-migrations-table=m": base + "\nnote: x-migrations-table is left out: it is golang-migrate's",
		"sslMode=require":      "problem: has a parameter that is not known: write sslmode",
		"ssl-root-cert=/r":     "problem: has a parameter that is not known: write sslrootcert",
		"readOnly=true": "problem: has the parameter readOnly, which is not known: take it out; a setting " +
			"of the server goes into options=-c%20name%3Dvalue, and an & inside a value is %26",
		"supa=base-pooler.x": base +
			"\nnote: supa is left out: it is Supabase's mark on its pooler",
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			equal(t, describe(base+"?"+query), want)
		})
	}
}

// TestServerDuration: PostgreSQL's notation of durations.
func TestServerDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"1500": "1.5s", "0": "0s", "1.5min": "1m30s", "1.5%20min": "1m30s", "%2030s%20": "30s", "'2h'": "2h0m0s",
		"1d":    "24h0m0s",
		"400us": "400µs", "0x10": "16ms", "010": "8ms", "1e3": "1s", ".5s": "500ms", "5.": "5ms", "24d": "576h0m0s",
		"7ms": "7ms",
		"25d": "", "soon": "", "-1": "", "5S": "", "5MIN": "", "5 5": "", "": "none", "0x": "", "1e99": "",
		"0.0004ms": "0s", "5µs": "",
		"2147483647": "596h31m23.647s", "2147483648": "",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			d, problems := dsn.Parse("postgres://u@h/d?tcp_user_timeout=" + strings.ReplaceAll(text, " ", "%20"))
			got := d.Limits["DATABASE_TCP_USER_TIMEOUT"].Text
			if len(problems) == 0 && got == "" {
				got = "none"
			}
			equal(t, got, want)
		})
	}
}
