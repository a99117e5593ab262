package pgconfig

import (
	"strconv"
	"strings"
)

// Setting is one line of a report.
type Setting struct {
	// Key is the variable, with the prefix if there is one, or a part of DATABASE_URL that came
	// from elsewhere ("DATABASE_URL password").
	Key string
	// Value is the value in effect, secrets masked. Empty: none.
	Value string
	// Source says where it came from: environment, the path of a file, a parameter of DATABASE_URL,
	// a PG* variable, default, or code if the program changed it after loading.
	Source string
	// Note is what a person should know about it. Usually empty.
	Note string
}

// Report returns every setting with the value in effect and where it came from, in the order of the
// table of variables. It contains no secret. It is nil for a zero Config.
func (c Config) Report() []Setting {
	r := c.state()
	if r == nil {
		return nil
	}
	values := c.values()
	report := make([]Setting, len(r.report))
	for i, s := range r.report {
		if now, ok := values[strings.TrimPrefix(s.Key, r.prefix)]; ok && now != s.Value {
			s.Value, s.Source = now, "code"
		}
		report[i] = s
	}
	return report
}

// values are the texts of the variables that have a field in Config.
func (c Config) values() map[string]string {
	number := func(n int32) string { return strconv.Itoa(int(n)) }
	return map[string]string{
		"APP_ENV":                                string(c.Environment),
		"DATABASE_POOL_MAX_CONNS":                number(c.MaxConns),
		"DATABASE_POOL_MIN_IDLE_CONNS":           number(c.MinIdleConns),
		"DATABASE_POOL_MAX_CONN_LIFETIME":        formatLimit(c.MaxConnLifetime),
		"DATABASE_POOL_MAX_CONN_LIFETIME_JITTER": formatLimit(c.MaxConnLifetimeJitter),
		"DATABASE_POOL_MAX_CONN_IDLE_TIME":       formatLimit(c.MaxConnIdleTime),
		"DATABASE_POOL_PING_TIMEOUT":             formatLimit(c.PingTimeout),
		"DATABASE_ACQUIRE_TIMEOUT":               formatLimit(c.AcquireTimeout),
		"DATABASE_CONNECT_TIMEOUT":               formatLimit(c.ConnectTimeout),
		"DATABASE_STARTUP_TIMEOUT":               formatLimit(c.StartupTimeout),
		"DATABASE_STATEMENT_TIMEOUT":             formatLimit(c.StatementTimeout),
		"DATABASE_LOCK_TIMEOUT":                  formatLimit(c.LockTimeout),
		"DATABASE_IDLE_IN_TRANSACTION_TIMEOUT":   formatLimit(c.IdleInTransactionTimeout),
		"DATABASE_REPLICA_MAX_LAG":               formatLimit(c.MaxReplicaLag),
		"DATABASE_SLOW_QUERY":                    formatLimit(c.SlowQuery),
		"DATABASE_LEAK_THRESHOLD":                formatLimit(c.LeakThreshold),
		"DATABASE_APPLICATION_NAME":              c.ApplicationName,
		"DATABASE_PGBOUNCER":                     strconv.FormatBool(c.PgBouncer),
		"DATABASE_ALLOW_INSECURE_TLS":            strconv.FormatBool(c.AllowInsecureTLS),
		"DATABASE_KEEPALIVE_IDLE":                formatLimit(c.KeepAliveIdle),
		"DATABASE_KEEPALIVE_INTERVAL":            formatLimit(c.KeepAliveInterval),
		"DATABASE_KEEPALIVE_COUNT":               number(c.KeepAliveCount),
		"DATABASE_TCP_USER_TIMEOUT":              formatLimit(c.TCPUserTimeout),
	}
}

// finishReport puts the values, the parts of the connection string and the notes into the report.
func (l *loader) finishReport(report []Setting, cfg Config, r *resolved) []Setting {
	values := cfg.values()
	var replicas []string
	for _, d := range r.replicas {
		replicas = append(replicas, d.url(true))
	}
	var out []Setting
	for _, s := range report {
		name := s.Key
		s.Key, s.Value = prefixed(l.prefix, name), values[name]
		switch name {
		case "DATABASE_URL":
			s.Value = r.main.url(true)
			if s.Source != fromEnvironment && l.vars[name].text == "" {
				s.Source = "its parts"
				if file, ok := l.vars["DATABASE_URL_FILE"]; ok {
					s.Source = "file " + file.text
				}
			}
		case "DATABASE_URL_FILE", "DATABASE_PASSWORD_FILE":
			s.Value = l.vars[name].text
		case "DIRECT_DATABASE_URL":
			if r.hasDirect {
				s.Value = r.direct.url(true)
			}
		case "DATABASE_REPLICA_URLS":
			s.Value = strings.Join(replicas, ",")
		}
		notes := l.notes[name]
		delete(l.notes, name)
		if name == "DATABASE_URL" {
			notes = append(notes, l.notes["DATABASE_URL_FILE"]...)
			delete(l.notes, "DATABASE_URL_FILE")
		}
		s.Note = strings.Join(notes, "; ")
		out = append(out, s)
		if name == "DATABASE_URL" {
			out = append(out, l.parts...)
		}
	}
	for _, name := range sortedKeys(l.notes) { // variables that are none of ours: their values may be secret
		out = append(out, Setting{Key: prefixed(l.prefix, name), Source: l.vars[name].source, Note: strings.Join(l.notes[name], "; ")})
	}
	return out
}
