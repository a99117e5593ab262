package dsn_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/page-builder/persistence/pgconfig/internal/dsn"
)

// said writes everything that Parse found on a line each.
const portWins = "note: the parameter port wins over what stands before the parameters"

func said(text string) string {
	d, problems := dsn.Parse(text)
	var lines []string
	for _, p := range problems {
		lines = append(lines, "problem: "+p.Sentence()+": "+p.Hint)
	}
	if len(problems) == 0 {
		lines = append(lines, d.URL())
		for _, name := range slices.Sorted(maps.Keys(d.Limits)) {
			lines = append(lines, fmt.Sprintf("%s=%s by %s", name, d.Limits[name].Text, d.Limits[name].Param))
		}
		for _, name := range slices.Sorted(maps.Keys(d.Params)) {
			if dsn.IsPgx(name) {
				lines = append(lines, name+"="+d.Params[name])
			}
		}
		for _, n := range d.Notes {
			lines = append(lines, "note: "+n)
		}
	}
	return strings.Join(lines, "\n")
}

func equal(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestParam: every parameter that is accepted has an effect or a note. Any other is a problem.
func TestParam(t *testing.T) {
	t.Parallel()
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
		"ssl=maybe": "problem: has the parameter ssl, which has a value that nobody " +
			"knows: use sslmode instead: disable, allow, prefer, require, verify-ca or verify-full",
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
			"a number of seconds: correct it, or use DATABASE_CONNECT_TIMEOUT",
		"connect_timeout=2147484": "problem: has the parameter connect_timeout, which is not " +
			"a number of seconds: correct it, or use DATABASE_CONNECT_TIMEOUT",
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
			"1: correct it, or use DATABASE_KEEPALIVE_IDLE",
		"keepalives_idle=0": base +
			"\nnote: keepalives_idle is left out: its value stands for the default",
		"keepalives_count=5": base + "\nDATABASE_KEEPALIVE_COUNT=5 by keepalives_count",
		"keepalives_count=-5": "problem: has the parameter keepalives_count, which is " +
			"not a whole number: correct it, or use DATABASE_KEEPALIVE_COUNT",
		"connection_limit=7&pool_max_conns=7": base + "\nDATABASE_POOL_MAX_CONNS=7 by connection_limit",
		"connection_limit=7&pool_max_conns=8": "problem: has the parameter pool_max_conns, which says " +
			"something else than connection_limit: take one of them out",
		"socket_timeout=7&statement_timeout=8": base +
			"\nDATABASE_STATEMENT_TIMEOUT=8ms by statement_timeout\nnote: socket_timeout is left out: " +
			"statement_timeout says otherwise",
		"pool_max_conn_lifetime=1h30m": base +
			"\nDATABASE_POOL_MAX_CONN_LIFETIME=1h30m by pool_max_conn_lifetime",
		"pool_max_conn_lifetime=soon": "problem: has the parameter pool_max_conn_lifetime, which " +
			"is not a duration such as 5s or 10m: correct it, or use DATABASE_POOL_MAX_CONN_LIFETIME",
		"pool_max_conn_lifetime=-1s": "problem: has the parameter pool_max_conn_lifetime, which " +
			"is not a duration such as 5s or 10m: correct it, or use DATABASE_POOL_MAX_CONN_LIFETIME",
		"pool_max_conn_lifetime=0s": base +
			"\nDATABASE_POOL_MAX_CONN_LIFETIME=0s by pool_max_conn_lifetime",
		"pool_max_conn_lifetime=2147483647ms": base +
			"\nDATABASE_POOL_MAX_CONN_LIFETIME=2147483647ms by pool_max_conn_lifetime",
		"pool_max_conn_lifetime=2147483648ms": "problem: has the parameter pool_max_conn_lifetime, which " +
			"is not a duration such as 5s or 10m: correct it, or use DATABASE_POOL_MAX_CONN_LIFETIME",
		"pgbouncer=TRUE": base + "\nDATABASE_PGBOUNCER=true by pgbouncer",
		"pgbouncer=off":  base + "\nDATABASE_PGBOUNCER=false by pgbouncer",
		"pgbouncer=maybe": "problem: has the parameter pgbouncer, which is not true " +
			"or false: correct it, or use DATABASE_PGBOUNCER",
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
			"correct it, or use DATABASE_LOCK_TIMEOUT",
		"options=-c%20idle_in_transaction_session_timeout%3D0": base +
			"\nDATABASE_IDLE_IN_TRANSACTION_TIMEOUT=0s by idle_in_transaction_session_timeout in options",
		"options=-c%20application_name%3Dweb": base + "\nDATABASE_APPLICATION_NAME=web by application_name in options",
		"options=-c%20Search-Path%3Da":        base + "?options=-c%20search_path%3Da",
		"options=-c%20work_mem%3D1MB&work_mem=2MB": base +
			"?options=-c%20work_mem%3D2MB\nnote: work_mem in options is left out: the parameter says otherwise",
		"options=-c%20work_mem%3D2MB&work_mem=2MB":      base + "?options=-c%20work_mem%3D2MB",
		"options=endpoint%3Dep-x%20-c%20work_mem%3D1MB": base + "?options=endpoint%3Dep-x%20-c%20work_mem%3D1MB",
		"options=project%3Dp-1":                         base + "?options=project%3Dp-1",
		`options=-c%20a.b%3Dx%5C%20y%5C%5Cz`:            base + `?options=-c%20a.b%3Dx%5C%20y%5C%5Cz`,
		"options=%20%20-d5%09-E%20":                     base + "?options=-d5%20-E",
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
			"?sslmode=require\nnote: uselibpqcompat is left out: sslmode means here what it means to libpq",
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
			equal(t, said(base+"?"+query), want)
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

// TestForm: URLs and keywords, and what others make of them.
func TestForm(t *testing.T) {
	t.Parallel()
	const notHost = "problem: has a host that is not a name or an address: an IPv6 address stands in brackets: " +
		"postgres://user:password@[::1]:5432/database"
	const takeOut = "take it out; a setting of the server goes into options='-c name=value'"
	const comma = "problem: has a comma between its keywords: write a space between them, and nothing else"
	for text, want := range map[string]string{
		"postgres://app:a:b@localhost/d":       "postgres://app:a%3Ab@localhost:/d",
		"postgresql://app:%40%2F%20@h:1/a%20b": "postgres://app:%40%2F%20@h:1/a%20b",
		" postgres://app@h/d\n":                "postgres://app@h:/d",
		"postgres://h":                         "postgres://h:/",
		"postgres://:p@h/d":                    "postgres://:p@h:/d",
		"postgres:///d":                        "postgres:///d",
		"postgres://u@h:/d":                    "postgres://u@h:/d",
		"postgres://u@[fe80::1%25eth0]:1/d":    "postgres://u@[fe80::1%25eth0]:1/d",
		"postgres://u@[::1],[::2]:7/d":         "postgres://u@[::1]:,[::2]:7/d",
		"postgres://u@a:1,b:2/d?port=3":        "postgres://u@a:3,b:3/d\n" + portWins,
		"postgres://u@localhost:5433/d?host=/tmp": "postgres://u@/d?host=/tmp&port=5433\n" +
			"note: the parameter host wins over what stands before the parameters",
		"postgres://u@h1:1,h2:2/d?host=a": "problem: names a different number of hosts and ports: " +
			"give one port for all hosts, or one for each",
		"postgres://u@h1:1,h2:2/d?host=a,b": "postgres://u@a:1,b:2/d\n" +
			"note: the parameter host wins over what stands before the parameters",
		"postgres://u@h1:5433/d?host=": "postgres://u@:5433/d\n" +
			"note: the parameter host wins over what stands before the parameters",
		"postgres://u@h1:5433/d?port=5434": "postgres://u@h1:5434/d\n" + portWins,
		"postgres://u@h1:5433/d?port=5433": "postgres://u@h1:5433/d",
		"postgres://u@a,b/d?port=3,4":      "postgres://u@a:3,b:4/d",
		"postgres://u@a,b/d?port=3,4,5": "problem: names a different number of hosts and ports: " +
			"give one port for all hosts, or one for each",
		"postgres://u@/d?port=3":                      "postgres://u@:3/d",
		"postgres://u@/d?host=/run/a,/run/b&port=1,2": "postgres://u@/d?host=/run/a%2C/run/b&port=1%2C2",
		"postgres://u@%2Frun%2Fpg/d":                  "postgres://u@/d?host=/run/pg&port=",
		"postgres://u@localhost/d?host=/cloudsql/p:r:i": "postgres://u@/d?host=/cloudsql/p%3Ar%3Ai&port=\nnote: the " +
			"parameter host wins over what stands before the parameters",
		"postgres://u@a/d?host=a": "postgres://u@a:/d",
		"postgres://u:p@h/d?user=v&password=q&dbname=e": "postgres://v:q@h:/e\nnote: the parameter user wins over " +
			"what stands before the parameters\nnote: the parameter password wins over what stands before the " +
			"parameters\nnote: the parameter dbname wins over what stands before the parameters",
		"postgres://h/d?user=v":         "postgres://v@h:/d",
		"postgres://u@h/d?database=d":   "postgres://u@h:/d",
		"postgres://u@127.1/d":          "postgres://u@127.0.0.1:/d",
		"postgres://u@0/d":              "postgres://u@0.0.0.0:/d",
		"postgres://u@2130706433/d":     "postgres://u@127.0.0.1:/d",
		"postgres://u@1.2.65535/d":      "postgres://u@1.2.255.255:/d",
		"postgres://u@1.65536/d":        "postgres://u@1.1.0.0:/d",
		"postgres://u@0177.0.0.1/d":     "postgres://u@127.0.0.1:/d",
		"postgres://@h/d":               "postgres://h:/d",
		"postgres://u@%21h/d":           notHost,
		"postgres://u@h/%01d":           "problem: has a database name that contains a control character: take it out",
		"postgres://u@h/d?options=a%5C": `postgres://u@h:/d?options=a%5C%5C`,
		"postgres://u@0177.1/d":         "postgres://u@127.0.0.1:/d",
		"postgres://u@1.2.65536/d":      notHost,
		"postgres://u@256.1/d":          notHost,
		"postgres://u@255.1/d":          "postgres://u@255.0.0.1:/d",
		"postgres://u@1.2.3.256/d":      notHost,
		"postgres://u@1.2.3.4.5/d":      notHost,
		"postgres://u@1..2/d":           notHost,
		"postgres://u@a%20b/d":          notHost,
		"postgres://u@[::1/d":           notHost,
		"postgres://u@[::1]x/d":         notHost,
		"postgres://u@[::g]/d":          notHost,
		"postgres://u@h:65536/d": "problem: has a port that is not a number from 1 to 65535: " +
			"5432 is PostgreSQL's usual port",
		"postgres://u@h:65535/d": "postgres://u@h:65535/d",
		"postgres://u@h:0/d": "problem: has a port that is not a number from 1 to 65535: " +
			"5432 is PostgreSQL's usual port",
		"postgres://u@h:1/d":                  "postgres://u@h:1/d",
		"postgres://u@h/d?host=%2Frun%2F%01x": notHost,
		"postgres://u:a%2@h/d": "problem: has a % in the password that is not followed by " +
			"two hexadecimal digits: write % as %25",
		"postgres://u:a%00@h/d": "problem: has a NUL character (%00) in the password: take it out: PostgreSQL has none",
		"postgres://u%0A@h/d": "problem: has a user that ends with a line break: take it " +
			"off: echo adds one, printf '%s' does not",
		"postgres://u%0Av@h/d": "problem: has a user that contains a control character: " +
			"take it out",
		"postgres://u:p%0D%0A@h/d": "problem: has a password that ends with a line break: take " +
			"it off: echo adds one, printf '%s' does not",
		"postgres://u:p%0Aq@h/d": "postgres://u:p%0Aq@h:/d",
		"postgres://u@h/d%09": "problem: has a database name that contains a control " +
			"character: take it out",
		"postgres://u:a+b%21@h/d": "postgres://u:a%2Bb%21@h:/d\nnote: the password has a + " +
			"and a %: a + stands for itself, so write a space as %20",
		"postgres://u:a+b@h/d":  "postgres://u:a%2Bb@h:/d",
		"postgres://u:a%21@h/d": "postgres://u:a%21@h:/d",

		"host=h dbname = d user=u password='it\\'s two' port=1": "postgres://u:it%27s%20two@h:1/d",
		"user='' host=h dbname=d":                               "postgres://h:/d",
		`host=h user=a\ b dbname=d password=x\`:                 "postgres://a%20b:x@h:/d",
		"host=h\ndbname=d\tuser=u":                              "postgres://u@h:/d",
		"host=h user=u ssl=true": "postgres://u@h:/?sslmode=require\nnote: ssl " +
			"became sslmode=require",
		"host=h:1 user=u": "problem: has a host that is not a name or an " +
			"address: the port is a setting of its own, and an IPv6 address has no brackets",
		"host=[::1] user=u": "problem: has a host that is not a name or an " +
			"address: the port is a setting of its own, and an IPv6 address has no brackets",
		"host=h tint=red user=u":           "problem: has the parameter tint, which is not known: " + takeOut,
		"tint=red host=h":                  "problem: has a parameter that is not known: " + takeOut,
		"password=a horse=b":               "problem: has a parameter that is not known: " + takeOut,
		"host=h password=a user=u horse=b": "problem: has a parameter that is not known: " + takeOut,
		"host=h horse=b cow=c": "problem: has the parameter horse, which is not known: " + takeOut +
			"\nproblem: has a parameter that is not known: " + takeOut,
		"host=h app.key=7 user=u":          "postgres://u@h:/?options=-c%20app.key%3D7",
		"host=h password=a app.key=7":      "problem: has a parameter that is not known: " + takeOut,
		"host=h, user=u":                   comma,
		"host=h user=u, password=p":        comma,
		"host='h,' user=u":                 "postgres://u@h:,:/",
		"host= 'h,' user=u":                "postgres://u@h:,:/",
		"host=h user=u password=p, port=1": "postgres://u:p%2C@h:1/",
		"user=u host=h,":                   "postgres://u@h:,:/",
		"host=a host=b": "problem: has a host that is there twice: take one " +
			"of them out",
		"host=h user": "problem: is neither a URL nor libpq's " +
			"keyword=value form: write postgres://user:password@host:5432/database, or host=… user=… dbname=…; a " +
			"value with spaces stands in single quotes",
		"=h": "problem: is neither a URL nor libpq's " +
			"keyword=value form: write postgres://user:password@host:5432/database, or host=… user=… dbname=…; a " +
			"value with spaces stands in single quotes",
		"host=h us er=u": "problem: is neither a URL nor libpq's " +
			"keyword=value form: write postgres://user:password@host:5432/database, or host=… user=… dbname=…; a " +
			"value with spaces stands in single quotes",
		"host=h password='p": "problem: has a quotation mark that is not closed: " +
			"write postgres://user:password@host:5432/database, or host=… user=… dbname=…; a value with spaces " +
			"stands in single quotes",
		"host=h password='p\\'": "problem: has a quotation mark that is not closed: " +
			"write postgres://user:password@host:5432/database, or host=… user=… dbname=…; a value with spaces " +
			"stands in single quotes",
		"host= user=u": "problem: has a host that is not a name or an " +
			"address: the port is a setting of its own, and an IPv6 address has no brackets",
		"port=6000 user=a": "postgres://a@:6000/",
		"port=1,2 user=a":  "postgres://a@:1,:2/",
		"dbname=":          "postgres:///",
		"": "problem: is empty: the form is " +
			"postgres://user:password@host:5432/database",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			equal(t, said(text), want)
		})
	}
}

// TestPlaceholder: what nobody replaced is named, and not shown.
func TestPlaceholder(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"postgresql://postgres:[YOUR-PASSWORD]@db.abc.supabase.co:5432/postgres": "has a password that is a " +
			"placeholder like [YOUR-PASSWORD]",
		"postgres://postgres.abc:[DB PASSWORD]@h/d": "contains a space",
		"postgres://u:%5BYOUR-PASSWORD%5D@h/d": "has a password that is a " +
			"placeholder like [YOUR-PASSWORD]",
		"postgres://postgres.[YOUR-REF]:p@h/d": "has a user that is a " +
			"placeholder like [YOUR-PASSWORD]",
		"postgres://postgres.abc:p@aws-0-[REGION].pooler.supabase.com:6543/postgres": "has a host that is a " +
			"placeholder like [YOUR-PASSWORD]",
		"postgres://u:${DB_PASSWORD}@h/d": "has a password that is a " +
			"placeholder like ${NAME}",
		"postgres://u:${DB_PASSWORD:-x}@h/d":                 "has a password that is a placeholder like ${NAME}",
		"postgres://u:$db_password@h/d":                      "has a password that is a placeholder like $NAME",
		"postgres://u:__DB_PASSWORD__@h/d":                   "has a password that is a placeholder like __NAME__",
		"postgres://u:%23{DB_PASSWORD}@h/d":                  "has a password that is a placeholder like #{NAME}",
		"postgres://u:op%3A%2F%2Fv%2Fi%2Ff@h/d":              "has a password that is a placeholder like op://vault/item/field",
		"postgres://u:%24%7B%7B%20secrets.PASS%20%7D%7D@h/d": "has a password that is a placeholder like {{ NAME }}",
		"postgres://u:%40Microsoft.KeyVault(x)@h/d":          "has a password that is a placeholder like @Microsoft.KeyVault(…)",
		"postgres://u:{password}@h/d":                        "has a password that is a placeholder like {name}",
		"postgres://u:YOUR_PASSWORD_HERE@h/d":                "has a password that is a placeholder like PASSWORD",
		"postgres://u:[your_password_123]@h/d":               "has a password that is a placeholder like [YOUR-PASSWORD]",
		"postgres://u:%25DB_PASSWORD%25@h/d":                 "has a password that is a placeholder like %NAME%",
		"postgres://u:$(DB_PASSWORD)@h/d": "has a password that is a " +
			"placeholder like $(NAME)",
		"postgres://u:$DB_PASSWORD@h/d": "has a password that is a " +
			"placeholder like $NAME",
		"postgres://u:<password>@h/d": "has a password that is a " +
			"placeholder like <password>",
		"postgres://u:{{password}}@h/d": "has a password that is a " +
			"placeholder like {{ NAME }}",
		"postgres://u:PASSWORD@h/d": "has a password that is a " +
			"placeholder like PASSWORD",
		"postgres://u:your_password@h/d": "has a password that is a " +
			"placeholder like PASSWORD",
		"postgres://u:****@h/d": "has a password that is a " +
			"placeholder like ****",
		"postgres://${DB_USER}:p@h/d": "has a user that is a " +
			"placeholder like ${NAME}",
		"postgres://u:p@${DB_HOST}/d": "has a host that is a " +
			"placeholder like ${NAME}",
		"postgres://u:p@<host>:5432/d": "has a host that is a " +
			"placeholder like <password>",
		"postgres://u:p@HOST:5432/d": "has a host that is a " +
			"placeholder like PASSWORD",
		"postgres://u:p@h/DATABASE": "has a database name that is " +
			"a placeholder like PASSWORD",
		"host=$(PGHOST) user=u": "has a host that is a " +
			"placeholder like $(NAME)",
		"postgres://username:password@hostname:5432/dbname": "is an example, not an address",
		"postgres://user:password@host:5432/database":       "is an example, not an address",
		"host=host user=user password=password":             "is an example, not an address",
		"${DATABASE_URL}":                                   "is a placeholder",
		"$(DATABASE_URL)":                                   "is a placeholder",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			got := said(text)
			if !strings.HasPrefix(got, "problem: "+want) || strings.Contains(got, "\n") {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	for _, text := range []string{
		"postgres://user:password@db/d", "postgres://user:pass@host/d", "postgres://app:password@host/d",
		"postgres://user:password@/d",
	} {
		if _, problems := dsn.Parse(text); len(problems) > 0 {
			t.Errorf("%q: %v", text, problems)
		}
	}
	for _, password := range []string{
		"[abc]", "<ab>", "x${A}", "$(A)y", "$ABC", "***", "password", "a[YOUR-PASSWORD]",
		"{{", "$", "Password",
	} {
		d, problems := dsn.Parse(dsn.Join(map[string]string{"user": "u", "password": password}))
		if len(problems) > 0 || d.Password != password {
			t.Errorf("%q: %v", password, problems)
		}
	}
}

// TestComma: without an @ it cannot be told what is a password, so nothing is shown.
func TestComma(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"postgres://app:hunter,secret/shop", "postgres://app:1,hunter:secret/shop",
		"postgres://app:hunter/shop", "postgres://app:12,hunter/shop", "postgres://app:1,hunter:2/shop",
		"postgres://app:12,hunter2",
	} {
		d, problems := dsn.Parse(text)
		if len(problems) != 1 || !strings.HasPrefix(problems[0].Sentence(), "has a port that is not a number") &&
			!strings.HasPrefix(problems[0].Sentence(), "has several hosts with a port and no user") {
			t.Errorf("%v", problems)
		}
		if d.Params != nil || d.Hosts != nil {
			t.Errorf("%+v is certain", d)
		}
	}
	equal(t, said("postgres://a:1,b:2/d?user=u"), "postgres://u@a:1,b:2/d")
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for list, want := range map[string][]string{
		"":                                nil,
		" , ":                             nil,
		"postgres://a/d":                  {"postgres://a/d"},
		"postgres://a,b/d,postgres://c/d": {"postgres://a,b/d", "postgres://c/d"},
		"postgres://a/d postgres://c/d\npostgresql://e/f;": {
			"postgres://a/d", "postgres://c/d",
			"postgresql://e/f",
		},
		"postgres://u:it's@a/d, postgres://u:p\\@c/d, mysql://x": {
			"postgres://u:it's@a/d", "postgres://u:p\\@c/d",
			"mysql://x",
		},
		"host=a dbname=d, host=b dbname=d":     {"host=a dbname=d", "host=b dbname=d"},
		"host=a dbname=d\nhost = b":            {"host=a dbname=d", "host = b"},
		"host=a dbname=d;user=u host=b":        {"host=a dbname=d", "user=u host=b"},
		"host=a\nuser=u\ndbname=d":             {"host=a\nuser=u\ndbname=d"},
		"host=a\nuser=u\nhost=b\nuser=u":       {"host=a\nuser=u", "host=b\nuser=u"},
		"postgres://a/d\nhost=b\nuser=u":       {"postgres://a/d", "host=b\nuser=u"},
		"host=a,b port=1,2":                    {"host=a,b port=1,2"},
		"host=a password='x, host=b' , host=c": {"host=a password='x, host=b'", "host=c"},
		`host=a password='x\', host=b',host=c`: {`host=a password='x\', host=b'`, "host=c"},
		"host=a options=-cx.y=1,tint=2":        {"host=a options=-cx.y=1,tint=2"},
		"host=a password= 'x, host=b'":         {"host=a password= 'x, host=b'"},
		"host=a,postgres://b/c":                {"host=a", "postgres://b/c"},
		"postgres://a/d,host=b":                {"postgres://a/d", "host=b"},
		"postgres://a/d,://b":                  {"postgres://a/d,://b"},
	} {
		if diff := cmp.Diff(want, dsn.Split(list)); diff != "" {
			t.Errorf("%q: %s", list, diff)
		}
	}
}

// TestSplitLong: the time grows with the length, not with its square.
func TestSplitLong(t *testing.T) {
	t.Parallel()
	const n = 500_000
	start := time.Now()
	dsn.Split("postgres://u@h" + strings.Repeat(",h", n) + "/d")
	dsn.Split(strings.Repeat("host=h user=u, ", n/8))
	if took := time.Since(start); took > time.Minute { // a tenth of a second; minutes with the square
		t.Errorf("took %v", took)
	}
}

// TestMeantEnv: a slip in the name of a variable is recognized.
func TestMeantEnv(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"PGPASWORD": "PGPASSWORD", "PGPASSWORDS": "PGPASSWORD", "PGPASSW0RD": "PGPASSWORD",
		"PGCONNECTTIMEOUT": "PGCONNECT_TIMEOUT", "PG_HOST": "PGHOST", "PGTX_URL": "", "PG_VERSION": "", "PGX": "",
		"DATABASE_URL": "", "P": "",
	} {
		equal(t, name+" "+dsn.MeantEnv(name), name+" "+want)
	}
}

func TestLocal(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "localhost.": true, "127.0.0.1": true, "127.9.9.9": true, "127.1": true,
		"0.0.0.0": true, "0": true,
		"/run/pg": true, "db": false, "10.0.0.1": false, "localhost.example.com": false, "128.0.0.1": false,
		"1.0.0.127": false,
	} {
		d, _ := dsn.Parse("postgres://u@" + strings.ReplaceAll(host, "/", "%2F") + "/d")
		if d.Local() != want {
			t.Errorf("%s: %t", host, d.Local())
		}
		if got := len(d.RemoteHosts()); (got == 0) != want {
			t.Errorf("%s: %d remote hosts", host, got)
		}
	}
	for host, want := range map[string]bool{
		"::1": true, "::": true, "::ffff:127.0.0.1": true, "::ffff:0.0.0.0": true,
		"::2": false,
	} {
		d, _ := dsn.Parse("postgres://u@[" + host + "]/d")
		if d.Local() != want {
			t.Errorf("%s: %t", host, d.Local())
		}
	}
	both, _ := dsn.Parse("postgres://u@localhost,db,/d")
	if both.Local() || (dsn.DSN{}).Local() || strings.Join(both.RemoteHosts(), " ") != "db" {
		t.Errorf("%v", both.RemoteHosts())
	}
}

// TestMisplaced: a connection string in place of a name is not shown.
func TestMisplaced(t *testing.T) {
	t.Parallel()
	const user = "has a user that is a connection string, not a name: put it into DATABASE_URL"
	const database = "has a database name that is a connection string, not a name: put it into DATABASE_URL"
	for text, want := range map[string]string{
		"host=h dbname=postgres://u:hunter2@h/db":              database,
		"host=h dbname='host=h password=hunter2'":              database,
		"host=h user=postgres://u:hunter2@h/db":                user,
		"postgres://postgres%3A%2F%2Fu%3Ahunter2%40h%2Fdb@h/":  user,
		"postgres://u@h/postgres%3A%2F%2Fu%3Ahunter2%40h%2Fdb": database,
	} {
		d, problems := dsn.Parse(text)
		if len(problems) != 1 || problems[0].Sentence()+": "+problems[0].Hint != want ||
			strings.Contains(d.Masked(), "hunter2") {
			t.Errorf("%s: %v, %s", text, problems, d.Masked())
		}
	}
}

func TestFill(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		to, from string
		want     string
		taken    string
		mismatch bool
	}{
		{
			"user=u", "host=h port=1 dbname=d user=x password=p sslmode=require work_mem=1MB connect_timeout=3 " +
				"options=endpoint=e", "postgres://u:p@h:1/d?options=endpoint%3De%20-c%20work_mem%3D1MB&sslmode=require",
			"host port database password sslmode work_mem DATABASE_CONNECT_TIMEOUT options", false,
		},
		{
			"host=h user=u dbname=d password=p sslmode=disable work_mem=2MB options=a",
			"host=x user=x dbname=x password=x sslmode=require work_mem=1MB options=b",
			"postgres://u:p@h:/d?options=a%20-c%20work_mem%3D2MB&sslmode=disable", "", false,
		},
		{"host=a,b", "port=1,2", "postgres://a:1,b:2/", "port", false},
		{"host=a,b", "port=1,1,1", "postgres://a:1,b:1/", "port", false},
		{"host=a,b", "port=1,2,3", "postgres://a:,b:/", "", true},
		{"host=a port=7", "port=1,2", "postgres://a:7/", "", false},
		{"host=a,b port=7,", "port=1", "postgres://a:7,b:/", "", false},
		{"host=a,b port=7,", "port=1,2,3", "postgres://a:7,b:/", "", false},
		{"postgres://u@a:7,b", "port=1", "postgres://u@a:7,b:/", "", false},
		{"host=a,b port=7,8", "port=1", "postgres://a:7,b:8/", "", false},
		{"port=7", "host=a,b port=1,2", "postgres://a:7,b:7/", "host", false},
		{"host=,", "host=a", "postgres://a:/", "host", false},
		{"port=7,8", "host=a", "postgres:///", "host", true},
		{"user=u", "port=7", "postgres://u@:7/", "port", false},
		{"host=a", "user=u", "postgres://u@a:/", "user", false},
	} {
		t.Run(test.to+" from "+test.from, func(t *testing.T) {
			t.Parallel()
			to, problems := dsn.Parse(test.to)
			from, more := dsn.Parse(test.from)
			if len(problems)+len(more) > 0 {
				t.Fatal(problems, more)
			}
			taken, ok := to.Fill(from)
			equal(t, to.URL(), test.want)
			equal(t, strings.Join(taken, " "), test.taken)
			if ok == test.mismatch {
				t.Errorf("ok is %t", ok)
			}
		})
	}
	var empty dsn.DSN
	from, _ := dsn.Parse("postgres://u@h/d?work_mem=1MB&sslmode=require")
	empty.Fill(from)
	empty.Settings["work_mem"] = "9MB"
	equal(t, from.Settings["work_mem"], "1MB")
}

func TestNames(t *testing.T) {
	t.Parallel()
	full, _ := dsn.Parse("postgres://u:p@h:1/d")
	for _, param := range []string{"host", "port", "user", "password", "dbname"} {
		if !full.Names(param) || (dsn.DSN{}).Names(param) {
			t.Error(param)
		}
	}
	if full.Names("sslmode") {
		t.Error("sslmode")
	}
}

func TestMasked(t *testing.T) {
	t.Parallel()
	d, problems := dsn.Parse(
		"postgres://u:hidden@h:1/d?sslpassword=hidden&default_query_exec_mode=exec&sslmode=require",
	)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	equal(t, d.Masked(), "postgres://u:****@h:1/d?default_query_exec_mode=exec&sslmode=require&sslpassword=****")
	d, _ = dsn.Parse("postgres://u@h:1/d?app.key=hidden&work_mem=1MB")
	equal(t, d.Masked(), "postgres://u@h:1/d?options=-c%20app.key%3D%2A%2A%2A%2A%20-c%20work_mem%3D1MB")
	equal(t, d.URL(), "postgres://u@h:1/d?options=-c%20app.key%3Dhidden%20-c%20work_mem%3D1MB")
}

func TestClone(t *testing.T) {
	t.Parallel()
	d, _ := dsn.Parse("postgres://u:hidden@h:1/d?sslpassword=hidden&sslmode=require")
	copied := d.Clone()
	copied.Hosts[0].Host, copied.Params["sslmode"] = "x", "disable"
	equal(t, d.URL(), "postgres://u:hidden@h:1/d?sslmode=require&sslpassword=hidden")
}

func TestAdvice(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"x.proxy-abc.eu-west-1.rds.amazonaws.com": "sslrootcert=system",
		"db.abc.eu-west-1.RDS.amazonaws.com.":     "global-bundle.pem",
		"x.postgres.database.azure.com":           "sslrootcert=system",
		"ep-x.eu-central-1.aws.neon.tech":         "sslrootcert=system",
		"db.abc.supabase.co":                      "/path/to/ca.crt", "ec2-1-2.compute-1.amazonaws.com": "DATABASE_ALLOW_INSECURE_TLS=true",
		"db.example.com": "", "neon.tech": "", "proxy-x.example.com": "",
	} {
		if got := dsn.Advice(host); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: %q", host, got)
		}
	}
}

func TestFromEnv(t *testing.T) {
	t.Parallel()
	for variable, want := range map[string]string{
		"PGHOST": "host", "PGDATABASE": "dbname", "PGTZ": "timezone",
		"PGDATA": "", "HOME": "",
	} {
		equal(t, dsn.FromEnv(variable), want)
	}
}

// TestProblem: the corrected form is shown, and no piece of a secret.
func TestProblem(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url  string
		want string
	}{
		{
			"postgres://app:hun@ter/horse@db.example:5432/shop?sslmode=require",
			"write @ as %40, / as %2F, so that it reads postgres://app:****@db.example:5432/shop?…",
		},
		{
			"postgres://app:hunter@horse@db.example/shop",
			"write @ as %40, so that it reads postgres://app:****@db.example/shop",
		},
		{
			"postgres://app:hunter/horse@db.example/shop",
			"write / as %2F, so that it reads postgres://app:****@db.example/shop",
		},
		{
			"postgres://app:hunter#horse@db.example/shop",
			"write # as %23, so that it reads postgres://app:****@db.example/shop",
		},
		{
			"postgres://app:hunter?horse@db.example/shop",
			"write ? as %3F, so that it reads postgres://app:****@db.example/shop",
		},
		{
			"postgres://app:hunter@horse?x=y@db.example/shop",
			"write @ as %40, ? as %3F, so that it reads postgres://app:****@db.example/shop",
		},
		{
			"postgres://app:x@db.example/shop?password=hunter@horse/hors",
			"so that it reads postgres://app:****@host:5432/database",
		},
		{
			"postgres://app@corp:hunter@db.example/shop",
			"write @ as %40, so that it reads postgres://app%40corp:****@db.example/shop",
		},
		{"postgres://ap$p:hunter@horse@db.example/shop", "so that it reads postgres://user:****@db.example/shop"},
		{
			"postgres://app:horse@db/shop?connection_limit=many",
			"has the parameter connection_limit, which is not a whole number",
		},
		{
			"postgres://app:horse@db/shop?statement_cache_size=many",
			"has the parameter statement_cache_size, which is not a whole number",
		},
		{"postgres://app:horse@db/shop?pgbouncer=maybe", "has the parameter pgbouncer, which is not true or false"},
		{
			"postgres://app:horse@db/shop?pool_max_conn_lifetime=soon",
			"has the parameter pool_max_conn_lifetime, which is not a duration",
		},
		{" ", "is empty"},
		{
			"postgres://app:100%sure@db.example/shop",
			"has a % in the password that is not followed by two hexadecimal digits: write % as %25",
		},
		{"postgres://app:horse@db.example/shop#main", "contains a #: write # as %23"},
		{"postgres://app:horse@db.example/shop/x", "has a database name with a / or : in it"},
		{"postgres://app:horse@db.example:65536/shop", "has a port that is not a number from 1 to 65535"},
		{"postgres://app:horse@db.example:0/shop", "has a port that is not a number from 1 to 65535"},
		{"postgres://app:horse/shop", "has a port that is not a number from 1 to 65535"},
		{"host=<host>,a:b user=app password=horse", "has a host that is not a name or an address"},
		{"postgres://app:horse@[::1/shop", "has a host that is not a name or an address"},
		{"postgres://app:horse@::1/shop", "has a host that is not a name or an address: an IPv6 address stands in brackets"},
		{"postgres://app:hunter horse@db/shop", "contains a space: take it out, or write it as %20"},
		{"postgres://app:horse@a%20b/shop", "has a host that is not a name or an address"},
		{"postgres://app:horse@/shop?host=a:5432", "has a host that is not a name or an address"},
		{"postgres:app:horse@db/shop", "lacks the two slashes"},
		{"Postgres://app:horse@db/shop", "has a scheme in capitals"},
		{"mysql://app:horse@db/shop", "is the address of another database, MySQL"},
		{"mongodb+srv://app:horse@db/shop", "is the address of another database, MongoDB"},
		{"prisma://accelerate.prisma-data.net/?api_key=horse", "is the address of another database, Prisma Accelerate"},
		{"jdbc:postgresql://db/shop?user=app&password=horse", "is a JDBC address"},
		{"postgresql+psycopg2://app:horse@db/shop", "names a driver in its scheme"},
		{"https://app:horse@db/shop", "does not begin with postgres:// or postgresql://"},
		{`"postgres://app:horse@db/shop"`, "begins with a quotation mark"},
		{"psql 'postgres://app:horse@db/shop'", "is a psql command"},
		{"DATABASE_URL=postgres://app:horse@db/shop", "repeats its own name"},
		{"postgres://app:horse@db/shop\nx", "contains a line break"},
		{"app:horse@db/shop", "is neither a URL nor libpq's keyword=value form"},
		{
			"Server=db;Database=shop;User Id=app;Password=horse",
			"is in the form of .NET or ODBC: the form is postgres://user:password@host:5432/database",
		},
		{"User ID=app;Password=horse;Host=db", "is in the form of .NET or ODBC"},
		{"Host=db;Username=app;Password=horse", "is in the form of .NET or ODBC"},
		{"host=db password='horse", "has a quotation mark that is not closed"},
		{"host=db password=two horse", "is neither a URL nor libpq's keyword=value form"},
		{
			"postgres://app:horse@db/shop?sslmode=verify",
			"has a value for sslmode that does not exist: write one of disable, allow, prefer, require, verify-ca " +
				"or verify-full",
		},
		{
			"postgres://app:horse@db/shop?target_session_attrs=master",
			"has a value for target_session_attrs that does not exist",
		},
		{"postgres://app:horse@db/shop?tint=red", "has the parameter tint, which is not known: take it out"},
		{"postgres://app@db/shop?password=a&horse=b", "has a parameter that is not known"},
		{"postgres://app:horse@db/shop?tint", "has a parameter without a value"},
		{"postgres://app:horse@db/shop?hostaddr=1.2.3.4", "has the parameter hostaddr"},
		{
			"postgres://app:horse@db/shop?statement_timeout=soon",
			"has the parameter statement_timeout, which is not a duration",
		},
		{
			"postgres://app:horse@db/shop?sslidentity=id.p12",
			"has the parameter sslidentity, which names a PKCS#12 file, which Go cannot read: split it with openssl",
		},
		{"postgres://app:horse@db/shop?sslaccept=maybe", "has the parameter sslaccept"},
		{"postgresql:app:horse@db/shop", "lacks the two slashes"},
		{"PostgreSQL://app:horse@db/shop", "has a scheme in capitals"},
		{"postgres+asyncpg://app:horse@db/shop", "names a driver in its scheme"},
		{"'postgres://app:horse@db/shop'", "begins with a quotation mark"},
		{"`postgres://app:horse@db/shop`", "begins with a quotation mark"},
		{"DIRECT_DATABASE_URL=postgres://app:horse@db/shop", "repeats its own name"},
		{"export DATABASE_URL=postgres://app:horse@db/shop", "repeats its own name"},
		{"postgres://hunter@horse@db.example/shop", "so that it reads postgres://user:****@host:5432/database"},
		{
			"postgres://hunter/horse@db.example/shop",
			"write / as %2F, so that it reads postgres://user:****@host:5432/database",
		},
		{"postgres://app:hunter@horse@db.example", "so that it reads postgres://app:****@host:5432/database"},
		{"postgres://app:hunter@horse@db.example/shop:1", "so that it reads postgres://app:****@host:5432/database"},
		{"postgres://app:hunter@horse@db.example/shop?x=y", "so that it reads postgres://app:****@db.example/shop?…"},
		{"postgres://app:hunter@horse@[::1]:5432/shop", "so that it reads postgres://app:****@[::1]:5432/shop"},
		{
			"postgres://ap/p:hunter@db.example/shop",
			"write / as %2F, so that it reads postgres://user:****@db.example/shop",
		},
		{"postgres://app:horse@db.example/shop?a#b", "contains a #"},
		{"postgres://app:horse@db.example#x/shop", "contains a #"},
		{"postgres://app:horse@db.example/sh:op", "has a database name with a / or : in it"},
		{"postgres://app:horse@db/shop\x7f", "contains a line break or another control character"},
	} {
		t.Run(test.url, func(t *testing.T) {
			t.Parallel()
			text := said(test.url)
			if !strings.Contains(text, test.want) {
				t.Errorf("want %q in\n%s", test.want, text)
			}
			for _, secret := range []string{"hunt", "hun@", "ter/", "hors", "sure"} {
				if strings.Contains(text, secret) {
					t.Errorf("%q appears in\n%s", secret, text)
				}
			}
		})
	}
	d, problems := dsn.Parse("host=db options=-capp.next=a://b")
	if len(problems) > 0 || d.Settings["app.next"] != "a://b" {
		t.Error(problems)
	}
}
