package pgconfig

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/caarlos0/env/v11"
)

// Source is where a configuration is read from.
type Source struct {
	// Prefix goes before the variables that begin with DATABASE_ or DIRECT_, for a program with
	// several databases: "ANALYTICS" reads ANALYTICS_DATABASE_URL. An underscore is added if it is
	// missing. With a prefix libpq's PG* variables are not read, because they belong to the
	// database without one.
	Prefix string
	// Environ are the variables by name. A variable set to "" counts as not set. HOME is where
	// .pgpass, .pg_service.conf and .postgresql are looked for, and USER is the default user name;
	// without them there is no default.
	Environ map[string]string
	// DotEnv are the .env files to read, if they exist; in earlier ones a variable is stronger than
	// in later ones, and in all weaker than in Environ. See [Load] for when they count.
	DotEnv []string
}

// Environ returns the environment of the process, for [Source]: LoadFrom with it and DotEnv ".env"
// reads what Load does.
func Environ() map[string]string { return env.ToMap(os.Environ()) }

// Load reads the environment of the process and, in development and test only, the file .env in the
// working directory.
//
// The error is an [*Error] with everything that is wrong, found without connecting anywhere.
//
// APP_ENV in the environment of the process decides about .env:
//
//   - development or test: it is read; what the environment sets is stronger.
//   - staging or production: it is not read.
//   - not set: it is read only if the environment names no database itself (DATABASE_URL,
//     DATABASE_URL_FILE, PGHOST, PGDATABASE, PGSERVICE), and then every database it names must be
//     on this machine; anything else is an error that says to set APP_ENV. So a copied example.env
//     works at once with a local database, while a stray .env on a server can neither lead to a
//     database elsewhere nor loosen a rule.
//
// [Config.Report] tells of every value where it came from.
func Load() (Config, error) {
	return load(Source{Environ: Environ(), DotEnv: []string{".env"}}, filepath.Base(os.Args[0]))
}

// LoadFrom reads src and nothing else: no variable of the process, no working directory, no home
// directory. Files are read where src names them, by their path or through HOME. The rule on .env
// files is [Load]'s, with src.Environ in place of the environment of the process.
// DATABASE_APPLICATION_NAME has no default. The error is an [*Error].
func LoadFrom(src Source) (Config, error) { return load(src, "") }

// Parse makes a configuration of one URL and the defaults, for tests and programs that are told
// their database otherwise. It reads nothing but the files that the URL names. With every host on
// this machine the defaults are those of development, otherwise those of production. The error is
// an [*Error].
func Parse(url string) (Config, error) {
	return load(Source{Environ: map[string]string{"DATABASE_URL": url}}, "")
}

// entry is the text of a variable and where it came from.
type entry struct{ text, source string }

// loader is one run of load.
type loader struct {
	problems
	vars   map[string]entry // our variables without the prefix, PG* and APP_ENV
	system map[string]string
	// borrowed: APP_ENV is not set and the databases come from .env.
	borrowed bool
	notes    map[string][]string
	parts    []Setting // what PG*, a service and files gave the main connection string
}

func load(src Source, program string) (Config, error) {
	prefix := src.Prefix
	if prefix != "" && !strings.HasSuffix(prefix, "_") {
		prefix += "_"
	}
	l := &loader{problems: problems{prefix: prefix}, system: src.Environ, notes: map[string][]string{}}
	l.readEnvironment(src)

	r := &resolved{prefix: prefix}
	password := l.passwordFile(r)
	main, haveMain := l.mainDSN(password)
	var translated map[string]entry
	if haveMain {
		translated = l.translateDSN("DATABASE_URL", &main)
	}
	direct, haveDirect := l.optionalDSN("DIRECT_DATABASE_URL", password)
	replicas := l.replicaDSNs(password)

	all := map[string]*dsn{}
	if haveMain {
		all["DATABASE_URL"] = &main
	}
	if haveDirect {
		all["DIRECT_DATABASE_URL"] = &direct
	}
	local := haveMain && main.local() && (!haveDirect || direct.local())
	for i := range replicas {
		local = local && replicas[i].local()
	}
	if l.borrowed && len(l.list) == 0 && !local {
		l.add("APP_ENV", "is not set, and .env names a database on another machine",
			"set APP_ENV=development in the environment on a developer's machine; on a server remove .env and set "+prefixed(prefix, "DATABASE_URL"))
	}
	environment := l.environment(local)

	cfg, report := l.decode(environment, translated, program)
	for _, key := range []string{"DATABASE_URL", "DIRECT_DATABASE_URL"} {
		if d := all[key]; d != nil {
			l.complete(key, d, cfg)
		}
	}
	for i := range replicas {
		l.complete("DATABASE_REPLICA_URLS", &replicas[i], cfg)
	}
	if err := l.err(); err != nil {
		return Config{}, err
	}
	r.main, r.direct, r.replicas = main, main, replicas
	if haveDirect {
		r.direct, r.hasDirect = direct, true
	}
	r.report = l.finishReport(report, cfg, r)
	cfg.resolved = func() *resolved { return r }
	return cfg, nil
}
