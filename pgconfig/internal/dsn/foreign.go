package dsn

import (
	"regexp"
	"strings"
)

// otherDatabases are schemes that people paste by mistake.
var otherDatabases = map[string]string{
	"mysql": "MySQL", "mysql2": "MySQL", "mariadb": "MariaDB", "sqlserver": "SQL Server", "mssql": "SQL Server",
	"mongodb": "MongoDB", "mongodb+srv": "MongoDB", "redis": "Redis", "rediss": "Redis", "sqlite": "SQLite",
	"file":   "SQLite",
	"oracle": "Oracle", "libsql": "libSQL", "prisma": "Prisma Accelerate", "prisma+postgres": "Prisma Accelerate",
}

// foreignKeywords begin connection strings of .NET and ODBC, which use semicolons between pairs.
var foreignKeywords = regexp.MustCompile(
	`(?i)^(host|server|driver|data source|user ?id|username|dsn)\s*=[^;']*;\s*[a-z]`,
)

// findForeign recognizes what is not a PostgreSQL connection string at all.
func findForeign(text string) (Problem, bool) {
	problem := func(detail, hint string) (Problem, bool) { return Problem{Detail: detail, Hint: hint}, true }
	switch {
	case text == "":
		return problem("is empty", form)
	case strings.ContainsAny(text[:1], "\"'\x60"):
		return problem("begins with a quotation mark", "take the quotation marks off: docker and systemd pass them on")
	case strings.HasPrefix(text, "psql "):
		return problem("is a psql command, not a connection string", "leave out psql and the quotation marks")
	case strings.HasPrefix(text, "${"), strings.HasPrefix(text, "$("):
		return problem("is a placeholder", notReplaced)
	}
	for _, name := range []string{"DATABASE_URL=", "DIRECT_DATABASE_URL=", "export "} {
		if strings.HasPrefix(text, name) {
			return problem("repeats its own name in its value", form)
		}
	}
	if foreignKeywords.MatchString(text) {
		return problem("is in the form of .NET or ODBC", form)
	}
	scheme, _, ok := strings.Cut(text, "://")
	if !ok {
		if strings.HasPrefix(text, "postgres:") || strings.HasPrefix(text, "postgresql:") {
			return problem("lacks the two slashes after the scheme", form)
		}
		return Problem{}, false
	}
	lower := strings.ToLower(scheme)
	switch {
	case scheme == "postgres" || scheme == "postgresql":
		return Problem{}, false
	case lower == "postgres" || lower == "postgresql":
		return problem("has a scheme in capitals", "write postgres:// in lower case")
	case otherDatabases[lower] != "":
		return problem("is the address of another database, "+otherDatabases[lower], "this needs PostgreSQL: "+form)
	case strings.HasPrefix(lower, "jdbc:postgresql"):
		return problem("is a JDBC address", form+", the user and the password included")
	case strings.HasPrefix(lower, "postgresql+") || strings.HasPrefix(lower, "postgres+"):
		return problem("names a driver in its scheme", "write postgres:// without it")
	case strings.Contains(scheme, "="):
		return Problem{}, false // keyword=value with :// in some value
	}
	return problem("does not begin with postgres:// or postgresql://", form)
}
