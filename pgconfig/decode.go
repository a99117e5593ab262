package pgconfig

import (
	"cmp"
	"errors"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/caarlos0/env/v11"
)

// decode makes a Config of the variables: those that are set, then what the connection string's
// parameters say, then the defaults of the environment. It returns a report of all of them too.
func (l *loader) decode(environment Environment, translated map[string]entry, program string) (Config, []Setting) {
	texts := map[string]string{} // never nil: the library would read the environment of the process
	var report []Setting
	for _, v := range Variables() {
		e, set := l.vars[v.Name]
		if !set {
			e, set = translated[v.Name]
			set = set && e.text != ""
		}
		if !set {
			e = entry{text: v.Default, source: "default"}
			if !environment.strict() {
				e.text = v.DefaultDevelopment
			}
			switch v.Name {
			case "APP_ENV":
				e.text = string(environment)
			case "DATABASE_APPLICATION_NAME":
				e.text = program
			}
		}
		texts[v.Name] = e.text
		report = append(report, Setting{Key: v.Name, Source: e.source})
	}
	l.checkNames()

	var v variables
	l.addDecodeErrors(env.ParseWithOptions(&v, env.Options{Environment: texts}))
	if v.MaxConns < 1 {
		v.MaxConns = 1
		if !l.has("DATABASE_POOL_MAX_CONNS") {
			l.add("DATABASE_POOL_MAX_CONNS", "is 0", "a pool needs 1 connection or more")
		}
	}
	if v.MinIdleConns > v.MaxConns {
		if l.vars["DATABASE_POOL_MIN_IDLE_CONNS"].text != "" && !l.has("DATABASE_POOL_MAX_CONNS") {
			l.add("DATABASE_POOL_MIN_IDLE_CONNS", "is more than "+prefixed(l.prefix, "DATABASE_POOL_MAX_CONNS"), "lower it, or raise the other")
		}
		v.MinIdleConns = v.MaxConns // the default does not fit a small pool
	}
	if v.KeepAliveCount < 1 && !l.has("DATABASE_KEEPALIVE_COUNT") {
		l.add("DATABASE_KEEPALIVE_COUNT", "is 0", "write 1 or more, or DATABASE_KEEPALIVE_IDLE=off for no keepalive")
	}
	cfg := v.config()
	cfg.Environment = environment
	return cfg, report
}

// has reports whether there is a problem with a variable already.
func (l *loader) has(key string) bool {
	return slices.ContainsFunc(l.list, func(p Problem) bool { return p.Key == prefixed(l.prefix, key) })
}

// addDecodeErrors takes our own text out of the library's errors, which quote values.
func (l *loader) addDecodeErrors(err error) {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return
	}
	for _, err := range all.Errors {
		var parse env.ParseError
		_ = errors.As(err, &parse) // no other kind names a field
		if field, ok := reflect.TypeFor[variables]().FieldByName(parse.Name); ok {
			l.add(field.Tag.Get("env"), parse.Err.Error(), "")
		}
	}
}

// checkNames notes variables that look like ours and are none: probably a slip.
func (l *loader) checkNames() {
	known := map[string]bool{}
	for _, v := range Variables() {
		known[v.Name] = true
	}
	for _, name := range sortedKeys(l.vars) {
		if !known[name] && len(name) > 2 && name[:2] != "PG" {
			l.note(name, "is not a variable of this package")
		}
	}
}

func (v variables) config() Config {
	return Config{
		Environment:              v.Environment,
		ApplicationName:          v.AppName,
		MaxConns:                 int32(v.MaxConns),
		MinIdleConns:             int32(v.MinIdleConns),
		MaxConnLifetime:          time.Duration(v.MaxConnLifetime),
		MaxConnLifetimeJitter:    time.Duration(v.MaxConnLifetimeJitter),
		MaxConnIdleTime:          time.Duration(v.MaxConnIdleTime),
		PingTimeout:              time.Duration(v.PingTimeout),
		AcquireTimeout:           time.Duration(v.AcquireTimeout),
		ConnectTimeout:           time.Duration(v.ConnectTimeout),
		StartupTimeout:           time.Duration(v.StartupTimeout),
		StatementTimeout:         time.Duration(v.StatementTimeout),
		LockTimeout:              time.Duration(v.LockTimeout),
		IdleInTransactionTimeout: time.Duration(v.IdleInTransactionTimeout),
		MaxReplicaLag:            time.Duration(v.MaxReplicaLag),
		SlowQuery:                time.Duration(v.SlowQuery),
		LeakThreshold:            time.Duration(v.LeakThreshold),
		KeepAliveIdle:            time.Duration(v.KeepAliveIdle),
		KeepAliveInterval:        time.Duration(v.KeepAliveInt),
		KeepAliveCount:           int32(v.KeepAliveCount),
		TCPUserTimeout:           time.Duration(v.TCPUserTimeout),
		PgBouncer:                bool(v.PgBouncer),
		AllowInsecureTLS:         bool(v.AllowInsecureTLS),
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
