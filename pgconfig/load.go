package pgconfig

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgconfig/internal/dsn"
)

// Source says where to read a configuration from.
type Source struct {
	// Prefix goes before the variables that begin with DATABASE_ or DIRECT_, for a program with
	// several databases: "ANALYTICS" reads ANALYTICS_DATABASE_URL. An underscore is added if it is
	// missing. With a prefix, libpq's PG* variables are not read, because they belong to the
	// database without one.
	Prefix string
	// Environ holds the variables by name. A variable set to "" counts as not set. HOME is the
	// directory of .pgpass, .pg_service.conf and .postgresql, and USER is the default user name.
	// Without them there is no default.
	Environ map[string]string
	// DotEnv names the .env files to read, if they exist. Earlier files take precedence over later
	// ones, and Environ over all of them. See [Load] for when they are read.
	DotEnv []string
}

// Environ returns the environment of the process, for [Source]. With it and DotEnv ".env", LoadFrom
// does the same as Load.
func Environ() map[string]string {
	environ := map[string]string{}
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		environ[name] = value
	}
	return environ
}

// Load reads the environment of the process and, in development and test only, the file .env in the
// working directory.
//
// The error is an [*Error] with everything that is wrong, found without connecting anywhere.
//
// APP_ENV in the environment of the process decides about .env:
//
//   - development or test: it is read. What the environment sets is stronger.
//   - staging or production: it is not read.
//   - not set: it is read only if the environment names no database itself (DATABASE_URL,
//     DATABASE_URL_FILE, PGHOST, PGHOSTADDR, PGDATABASE, PGSERVICE). Every database that it names
//     must then be on this machine, and the program runs in development. Anything else is an error
//     that says to set APP_ENV.
//
// A copied example.env therefore works at once with a local database, but a stray .env on a server
// can neither name a database elsewhere nor loosen a rule.
//
// [Config.Report] says where each value came from.
func Load() (Config, error) {
	return load(Source{Environ: Environ(), DotEnv: []string{".env"}}, filepath.Base(os.Args[0]), Production)
}

// LoadFrom reads src and nothing else: no variable of the process, no working directory, no home
// directory. It reads files where src names them, by their path or through HOME. The rule on .env
// files is [Load]'s, with src.Environ in place of the environment of the process.
// DATABASE_APPLICATION_NAME has no default. The error is an [*Error].
func LoadFrom(src Source) (Config, error) { return load(src, "", Production) }

// Parse makes a configuration from one URL and the defaults, for tests and for programs that find
// their database in another way. It only reads files that the URL names. If every host is this
// machine it uses the defaults of development, otherwise the defaults of production. The error is
// an [*Error].
func Parse(url string) (Config, error) {
	return load(Source{Environ: map[string]string{"DATABASE_URL": url}}, "", Development)
}

// loader is one run of load.
type loader struct {
	problems
	vars   map[string]entry  // our variables without the prefix, PG* and APP_ENV
	system map[string]string // the whole environment, for HOME and USER
	// unread: a .env file or APP_ENV has a problem, so variables may be missing because of it.
	unread bool
	// borrowed: APP_ENV is not set and the databases come from .env.
	borrowed bool
	libpq    map[string]string    // the parameters of libpq's variables
	password entry                // DATABASE_PASSWORD_FILE
	limits   map[string]dsn.Limit // of DATABASE_URL, once it is complete
	notes    map[string][]string
}

// connection is a connection string while it is being completed.
type connection struct {
	key  string // the variable without the prefix
	text string // as it was given
	dsn.DSN
	sound bool      // the parts are certain, so rules can be applied to them
	parts []Setting // parts that came from other sources
	// passFile is the file that gave the password, or "".
	passFile string
	// ownCert: the connection string itself has sslcert.
	ownCert bool
	bouncer bool // it leads to PgBouncer
}

// connections holds what the variables name. main and direct may be nil.
type connections struct {
	main, direct *connection
	replicas     []*connection
}

func (c connections) all() []*connection {
	var all []*connection
	for _, one := range append([]*connection{c.main, c.direct}, c.replicas...) {
		if one != nil {
			all = append(all, one)
		}
	}
	return all
}

// load parses, completes, checks and reports. If APP_ENV is not set and the database is on this
// machine, it uses the environment unset.
func load(src Source, program string, unset Environment) (Config, error) {
	l := newLoader(src)

	c := l.parse()
	for _, one := range c.all() {
		l.fill(one)
		if one == c.main {
			l.limits = one.Limits
		}
	}
	environment := l.settleEnvironment(c, unset)
	cfg, set := l.decode(c.main, environment, program)
	for _, one := range c.all() {
		l.complete(one, environment)
		l.check(one, cfg)
	}
	if err := l.err(); err != nil {
		return Config{}, err
	}
	return l.resolve(cfg, c, set), nil
}

func newLoader(src Source) *loader {
	prefix := src.Prefix
	if prefix != "" && !strings.HasSuffix(prefix, "_") {
		prefix += "_"
	}
	l := &loader{
		problems: problems{prefix: prefix}, system: src.Environ, libpq: map[string]string{},
		notes: map[string][]string{},
	}
	l.readEnvironment(src)
	for name, e := range l.vars {
		if param := dsn.FromEnv(name); param != "" {
			l.libpq[param] = e.text
		}
	}
	l.readPassword()
	return l
}

// parse reads the connection strings. Without one, DATABASE_URL is made of libpq's variables.
func (l *loader) parse() connections {
	var c connections
	_, hasURL := l.vars["DATABASE_URL"]
	_, hasFile := l.vars["DATABASE_URL_FILE"]
	switch {
	case hasURL && hasFile:
		l.add("DATABASE_URL", "and DATABASE_URL_FILE are both set", "set one of them")
	case hasFile:
		if e, ok := l.readSecret("DATABASE_URL_FILE"); ok {
			c.main = l.parseOne("DATABASE_URL_FILE", e.text)
		}
	case hasURL:
		c.main = l.parseOne("DATABASE_URL", l.vars["DATABASE_URL"].text)
	case l.namesDatabase():
		c.main = l.parseOne("DATABASE_URL", "")
	case !l.unread:
		detail := "is not set, and neither are PGHOST and PGDATABASE"
		if l.prefix != "" {
			detail = "is not set"
		}
		l.add("DATABASE_URL", detail, "set it to the address of the database, for example "+
			"DATABASE_URL=postgres://app:PASSWORD@localhost:5432/app; see "+readOn)
	}
	if c.main != nil && c.main.Password != "" && l.password.text != "" {
		l.add(c.main.key, "has a password, and DATABASE_PASSWORD_FILE is set too",
			"take the password out of one of them")
	}
	if e, ok := l.vars["DIRECT_DATABASE_URL"]; ok {
		c.direct = l.parseOne("DIRECT_DATABASE_URL", e.text)
	}
	for _, text := range dsn.Split(l.vars["DATABASE_REPLICA_URLS"].text) {
		c.replicas = append(c.replicas, l.parseOne("DATABASE_REPLICA_URLS", text))
	}
	return c
}

func (l *loader) parseOne(key, text string) *connection {
	if text == "" { // libpq's variables are enough
		return &connection{key: key, DSN: dsn.DSN{Params: map[string]string{}}, sound: true}
	}
	d, found := dsn.Parse(text)
	for _, p := range found {
		l.addFrom(key, p)
	}
	l.note(key, d.Notes...)
	return &connection{key: key, text: text, DSN: d, sound: d.Params != nil, ownCert: d.Params["sslcert"] != ""}
}

// settleEnvironment decides where the program runs.
func (l *loader) settleEnvironment(c connections, unset Environment) Environment {
	local, far := c.main != nil, false
	for _, one := range c.all() {
		local = local && one.sound && one.Local()
		far = far || len(one.RemoteHosts()) > 0
	}
	var e Environment
	if err := e.UnmarshalText([]byte(l.vars["APP_ENV"].text)); err != nil {
		return Production // decode reports it
	}
	switch {
	case l.borrowed && !local:
		if far && len(l.list) == 0 { // without a host, complete says so
			l.add("APP_ENV", "is not set, and .env names a database on another machine",
				"set APP_ENV=development in the environment on a developer's machine; on a server remove .env and "+
					"set DATABASE_URL")
		}
		return cmp.Or(e, Production)
	case e != "":
		return e
	case !local:
		return Production
	case l.borrowed:
		return Development
	case unset == Production:
		l.note("APP_ENV", "is not set: production, because a database on this machine may be reached through a "+
			"proxy beside a "+
			"service; set APP_ENV=development on a developer's machine")
	}
	return unset
}

// decode makes a Config from the variables that are set, then the parameters of DATABASE_URL, then
// the defaults. It also returns where each value came from.
func (l *loader) decode(main *connection, environment Environment, program string) (cfg Config,
	sources map[string]string,
) {
	sources = map[string]string{}
	for _, v := range table {
		e, set := l.vars[v.Name]
		if main != nil {
			if p, ok := main.Limits[v.Name]; ok && !set {
				e = entry{text: p.Text, source: l.origin(main, p.Param)}
			} else if ok && p.Text != e.text {
				l.note(v.Name, "wins over "+l.origin(main, p.Param))
			}
		}
		if e.text == "" {
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
		sources[v.Name] = e.source
		if v.bind == nil {
			continue
		}
		if err := v.bind(&cfg).UnmarshalText([]byte(e.text)); err != nil {
			l.add(v.Name, err.Error(), "")
		}
	}
	l.noteUnknown()
	cfg.Environment = environment

	switch {
	case cfg.MaxConns < 1 && !l.has("DATABASE_POOL_MAX_CONNS"):
		l.add("DATABASE_POOL_MAX_CONNS", "is 0", "a pool needs 1 connection or more")
	case cfg.MinIdleConns > cfg.MaxConns && sources["DATABASE_POOL_MIN_IDLE_CONNS"] == "default":
		cfg.MinIdleConns = cfg.MaxConns // the default does not fit a small pool
	case cfg.MinIdleConns > cfg.MaxConns && !l.has("DATABASE_POOL_MAX_CONNS"):
		l.add("DATABASE_POOL_MIN_IDLE_CONNS", "is more than DATABASE_POOL_MAX_CONNS",
			"lower it, or raise the other")
	}
	if cfg.KeepAliveCount < 1 && !l.has("DATABASE_KEEPALIVE_COUNT") {
		l.add("DATABASE_KEEPALIVE_COUNT", "is 0", "write 1 or more, or DATABASE_KEEPALIVE_IDLE=off for no keepalive")
	}
	return cfg, sources
}

// origin says where a parameter of a connection string came from.
func (l *loader) origin(c *connection, param string) string {
	for _, part := range c.parts {
		if part.Key == partKey(l.prefix, param) {
			return part.Source
		}
	}
	return param + " in " + addPrefix(l.prefix, c.key)
}

// noteUnknown notes variables that look like ours but are not, probably by mistake.
func (l *loader) noteUnknown() {
	for _, name := range sortedKeys(l.vars) {
		_, known := find(name)
		meant := dsn.MeantEnv(name)
		switch upper := strings.ToUpper(name); {
		case known || dsn.FromEnv(name) != "":
		case upper != name:
			l.note(name, "has no effect: write "+upper)
		case !strings.HasPrefix(name, "PG"):
			l.note(name, "is not a variable of this package")
		case name == "PGSYSCONFDIR":
			l.note(name, "has no effect: set PGSERVICEFILE")
		case meant != "" && name != "PGDATA":
			l.note(name, "has no effect: "+meant+" may be meant")
		}
	}
}

func (l *loader) note(key string, notes ...string) {
	for _, n := range notes {
		l.notes[key] = append(l.notes[key], l.prefixNames(n))
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
