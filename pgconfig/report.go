package pgconfig

import "strings"

// Setting is one line of a report.
type Setting struct {
	// Key is the variable, with the prefix if there is one, or a part of DATABASE_URL that came
	// from elsewhere ("DATABASE_URL password").
	Key string
	// Value is the value in effect, secrets masked. Empty: none.
	Value string
	// Source says where it came from: environment, the path of a file, a parameter of DATABASE_URL,
	// a PG* variable, default, or code if the program changed it after loading. It is default where
	// the variable is not set: see [Config.IsSet].
	Source string
	// Note warns a person about the setting. It is usually empty.
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
		name := strings.TrimPrefix(s.Key, r.prefix)
		if now, ok := values[name]; ok && now != r.values[name] {
			s.Value, s.Source = now, "code"
		}
		report[i] = s
	}
	return report
}

// report puts the values, the parts of the connection string and the notes together.
func (l *loader) report(cfg Config, c connections, sources map[string]string) []Setting {
	if cfg.PgBouncer {
		for _, name := range []string{
			"DATABASE_STATEMENT_TIMEOUT", "DATABASE_LOCK_TIMEOUT",
			"DATABASE_IDLE_IN_TRANSACTION_TIMEOUT",
		} {
			if sources[name] != "default" {
				l.note(name, "is not sent to PgBouncer, which refuses it: set it on the role")
			}
		}
	}
	l.note("DATABASE_URL", l.notes["DATABASE_URL_FILE"]...)
	delete(l.notes, "DATABASE_URL_FILE")

	values := cfg.values()
	var report []Setting
	for _, v := range table {
		s := Setting{
			Key: addPrefix(l.prefix, v.Name), Value: values[v.Name], Source: sources[v.Name],
			Note: strings.Join(l.notes[v.Name], "; "),
		}
		delete(l.notes, v.Name)
		switch v.Name {
		case "DATABASE_URL":
			s.Value = c.main.Masked()
			if file, ok := l.vars["DATABASE_URL_FILE"]; ok {
				s.Source = "file " + file.text
			} else if s.Source == "default" {
				s.Source = "its parts"
			}
		case "DATABASE_URL_FILE", "DATABASE_PASSWORD_FILE":
			s.Value = l.vars[v.Name].text
		case "DIRECT_DATABASE_URL":
			if c.direct != nil {
				s.Value = c.direct.Masked()
			}
		case "DATABASE_REPLICA_URLS":
			var urls []string
			for _, one := range c.replicas {
				urls = append(urls, one.Masked())
			}
			s.Value = strings.Join(urls, ",")
		}
		report = append(report, s)
		if v.Name == "DATABASE_URL" {
			report = append(report, c.main.parts...)
		}
	}
	for _, name := range sortedKeys(l.notes) { // not our variables: their values may be secret
		report = append(report, Setting{
			Key: addPrefix(l.prefix, name), Source: l.vars[name].source,
			Note: strings.Join(l.notes[name], "; "),
		})
	}
	return report
}
