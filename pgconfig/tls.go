package pgconfig

import (
	"errors"
	"io/fs"
	"os"
	"slices"
)

// choices are parameters with a fixed set of values. pgx would quote a wrong one.
var choices = map[string][]string{
	"sslmode":              {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
	"sslnegotiation":       {"postgres", "direct"},
	"sslcertmode":          {"disable", "allow", "require"},
	"sslsni":               {"0", "1"},
	"target_session_attrs": {"any", "read-write", "read-only", "primary", "standby", "prefer-standby"},
	"channel_binding":      {"disable", "prefer", "require"},
	"min_protocol_version": {"3.0", "3.2", "latest"},
	"max_protocol_version": {"3.0", "3.2", "latest"},
}

// secure settles sslmode and applies the rules on TLS.
//
// Under the rules of production, off this machine: verify-full unless said otherwise, and only
// modes that verify the server are accepted: require encrypts, but for anybody who answers.
// Everywhere else libpq's prefer.
func (l *loader) secure(key string, d *dsn, cfg Config) {
	for _, name := range sortedKeys(choices) {
		value, set := d.params[name]
		if set && value == "" {
			delete(d.params, name)
		} else if set && !slices.Contains(choices[name], value) {
			if variable := l.origin(name, value); variable != "" {
				l.add(variable, "has a value that does not exist", "write one of "+list(choices[name]))
			} else {
				l.add(key, "has a value for "+name+" that does not exist", "write one of "+list(choices[name]))
			}
			return
		}
	}
	far := cfg.Environment.strict() && !d.local()
	root := d.params["sslrootcert"]
	mode, set := d.params["sslmode"]
	if !set {
		switch {
		case far && cfg.AllowInsecureTLS && root == "":
			mode = "require"
		case far:
			mode = "verify-full"
		default:
			mode = "prefer"
		}
	}
	if root == "system" { // as libpq and pgx do
		mode = "verify-full"
	}
	d.params["sslmode"] = mode

	verified := mode == "verify-full" || mode == "verify-ca" || (mode == "require" && root != "")
	if far && !verified {
		what := "connects to " + d.remoteHosts() + " with sslmode=" + mode + ", which does not verify the server"
		if cfg.AllowInsecureTLS {
			l.note(key, "INSECURE: "+what)
		} else {
			l.add(key, what, "write sslmode=verify-full, with sslrootcert=/path/to/ca.crt unless a public authority signed the "+
				"server's certificate; "+prefixed(l.prefix, "DATABASE_ALLOW_INSECURE_TLS")+"=true accepts it as it is")
		}
	}
	if cfg.Environment.strict() && d.local() && !d.onSocket() {
		l.note(key, "is this machine itself: right with a proxy beside the program, wrong in a container without one")
	}
	if mode == "disable" || d.onSocket() {
		return
	}
	for _, name := range []string{"sslrootcert", "sslcert", "sslkey"} {
		path := d.params[name]
		if path == "" || path == "system" {
			continue
		}
		f, err := os.Open(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			l.add(key, "names a file in "+name+" that does not exist", "check the path, and that the file is mounted")
		case err != nil:
			l.add(key, "names a file in "+name+" that cannot be read", "make it readable for the user that the program runs as")
		default:
			_ = f.Close()
		}
	}
}

func list(words []string) string {
	text := ""
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			text += " or "
		default:
			text += ", "
		}
		text += w
	}
	return text
}
