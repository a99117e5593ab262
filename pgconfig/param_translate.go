package pgconfig

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A translation turns a parameter of a connection string into the text of one of our variables.
// Nearly all of them would otherwise be sent to the server as a setting that it does not know.
type translation struct {
	variable string
	convert  func(string) (string, error)
}

var translations = map[string]translation{
	// libpq
	"connect_timeout":           {"DATABASE_CONNECT_TIMEOUT", seconds},
	"application_name":          {"DATABASE_APPLICATION_NAME", verbatim},
	"fallback_application_name": {"DATABASE_APPLICATION_NAME", verbatim},
	"keepalives":                {"DATABASE_KEEPALIVE_IDLE", keepalives},
	"keepalives_idle":           {"DATABASE_KEEPALIVE_IDLE", positiveSeconds},
	"keepalives_interval":       {"DATABASE_KEEPALIVE_INTERVAL", positiveSeconds},
	"keepalives_count":          {"DATABASE_KEEPALIVE_COUNT", number},
	"tcp_user_timeout":          {"DATABASE_TCP_USER_TIMEOUT", serverDuration},
	// the server's
	"statement_timeout":                   {"DATABASE_STATEMENT_TIMEOUT", serverDuration},
	"lock_timeout":                        {"DATABASE_LOCK_TIMEOUT", serverDuration},
	"idle_in_transaction_session_timeout": {"DATABASE_IDLE_IN_TRANSACTION_TIMEOUT", serverDuration},
	// pgxpool
	"pool_max_conns":                {"DATABASE_POOL_MAX_CONNS", number},
	"pool_min_conns":                {"DATABASE_POOL_MIN_IDLE_CONNS", number},
	"pool_min_idle_conns":           {"DATABASE_POOL_MIN_IDLE_CONNS", number},
	"pool_max_conn_lifetime":        {"DATABASE_POOL_MAX_CONN_LIFETIME", goDuration},
	"pool_max_conn_lifetime_jitter": {"DATABASE_POOL_MAX_CONN_LIFETIME_JITTER", goDuration},
	"pool_max_conn_idle_time":       {"DATABASE_POOL_MAX_CONN_IDLE_TIME", goDuration},
	"pool_ping_timeout":             {"DATABASE_POOL_PING_TIMEOUT", goDuration},
	// Prisma
	"connection_limit":             {"DATABASE_POOL_MAX_CONNS", number},
	"pool_timeout":                 {"DATABASE_ACQUIRE_TIMEOUT", seconds},
	"socket_timeout":               {"DATABASE_STATEMENT_TIMEOUT", seconds},
	"max_connection_lifetime":      {"DATABASE_POOL_MAX_CONN_LIFETIME", seconds},
	"max_idle_connection_lifetime": {"DATABASE_POOL_MAX_CONN_IDLE_TIME", seconds},
	"pgbouncer":                    {"DATABASE_PGBOUNCER", boolean},
}

// badParam is a parameter whose value cannot be translated. The value is for comparison, not to be
// shown.
type badParam struct{ param, value, reason, variable string }

// translate moves the translated parameters out of d and returns the text of the variables with the
// parameter each came from.
func (d *dsn) translate() (map[string]entry, []badParam) {
	out := map[string]entry{}
	var found []badParam
	// In the order of the alphabet, but a fallback is weaker than what it falls back from: it goes
	// first.
	names := slices.Sorted(maps.Keys(d.params))
	slices.SortStableFunc(names, func(a, b string) int { return isFallback(b) - isFallback(a) })
	for _, name := range names {
		t, ok := translations[name]
		value, present := d.params[name]
		if !ok || !present {
			continue
		}
		delete(d.params, name)
		if value == "" || (name == "keepalives" && value != "0") {
			continue
		}
		text, err := t.convert(value)
		if err != nil {
			found = append(found, badParam{param: name, value: value, reason: err.Error(), variable: t.variable})
			continue
		}
		if _, taken := out[t.variable]; taken && name == "keepalives_idle" {
			continue // keepalives=0 wins
		}
		out[t.variable] = entry{text: text, source: name}
	}
	for name, value := range d.optionLimits() {
		variable := translations[name].variable
		if _, set := out[variable]; set {
			continue // a parameter wins over options on the server too
		}
		if text, err := serverDuration(value); err == nil {
			out[variable] = entry{text: text, source: "options"}
		}
	}
	return out, found
}

// optionLimits finds our three limits in options=-c name=value. Our defaults would otherwise
// override them: the server applies options first. The text of options itself stays as it is.
func (d *dsn) optionLimits() map[string]string {
	limits := map[string]string{}
	fields := strings.Fields(d.params["options"])
	for i, f := range fields {
		if f == "-c" && i+1 < len(fields) {
			f = fields[i+1]
		} else if rest, ok := strings.CutPrefix(f, "--"); ok {
			f = strings.ReplaceAll(rest, "-", "_")
		} else if rest, ok := strings.CutPrefix(f, "-c"); ok {
			f = rest
		} else {
			continue
		}
		name, value, _ := strings.Cut(f, "=")
		switch name {
		case "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout":
			limits[name] = value
		}
	}
	return limits
}

func isFallback(name string) int {
	if name == "fallback_application_name" || name == "pool_min_conns" {
		return 1
	}
	return 0
}

func verbatim(s string) (string, error) { return s, nil }

func number(s string) (string, error) {
	var c count
	if err := c.UnmarshalText([]byte(s)); err != nil {
		return "", errors.New("is not a whole number")
	}
	return s, nil
}

func boolean(s string) (string, error) {
	var f flag
	if err := f.UnmarshalText([]byte(s)); err != nil {
		return "", errors.New("is not true or false")
	}
	return s, nil
}

func keepalives(string) (string, error) { return "off", nil }

func seconds(s string) (string, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 || time.Duration(n)*time.Second > maxServerLimit {
		return "", errors.New("is not a number of seconds")
	}
	return (time.Duration(n) * time.Second).String(), nil
}

// positiveSeconds is seconds for the keepalive parameters, where 0 stands for the system's default,
// so ours.
func positiveSeconds(s string) (string, error) {
	text, err := seconds(s)
	if text == "0s" {
		return "", nil
	}
	return text, err
}

func goDuration(s string) (string, error) {
	var l limit
	if err := l.UnmarshalText([]byte(s)); err != nil {
		return "", err
	}
	return s, nil
}

// serverDuration reads a duration as PostgreSQL does: a number of milliseconds, or with one of its
// units.
func serverDuration(s string) (string, error) {
	s = strings.Trim(strings.TrimSpace(s), "'")
	i := strings.LastIndexAny(s, "0123456789") + 1
	unit, ok := map[string]time.Duration{
		"": time.Millisecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
		"min": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
	}[strings.TrimSpace(s[i:])]
	n, err := strconv.ParseInt(s[:i], 10, 32)
	if !ok || err != nil || n < 0 || float64(n)*float64(unit) > float64(maxServerLimit) {
		return "", errors.New("is not a duration: PostgreSQL counts in milliseconds, or write 30s")
	}
	return (time.Duration(n) * unit).String(), nil
}
