package dsn

import "strings"

// otherDatabases are schemes that people paste by mistake.
var otherDatabases = map[string]string{
	"mysql": "MySQL", "mysql2": "MySQL", "mariadb": "MariaDB", "sqlserver": "SQL Server", "mssql": "SQL Server",
	"mongodb": "MongoDB", "mongodb+srv": "MongoDB", "redis": "Redis", "rediss": "Redis", "sqlite": "SQLite",
	"file":   "SQLite",
	"oracle": "Oracle", "libsql": "libSQL", "prisma": "Prisma Accelerate", "prisma+postgres": "Prisma Accelerate",
}

// findForeign recognizes what is not a PostgreSQL connection string at all.
func findForeign(text string) (Problem, bool) {
	if text == "" {
		return Problem{Detail: "is empty", Hint: form}, true
	}
	if strings.ContainsAny(text[:1], "\"'`") {
		return Problem{Detail: "begins with a quotation mark", Hint: "take the quotation marks off: docker
			and systemd pass them on"}, true
	}
	if strings.HasPrefix(text, "psql ") {
		return Problem{Detail: "is a psql command, not a connection string", Hint: "leave out psql
			and the quotation marks"}, true
	}
	for _, name := range []string{"DATABASE_URL=", "DIRECT_DATABASE_URL=", "export "} {
		if strings.HasPrefix(text, name) {
			return Problem{Detail: "repeats its own name in its value", Hint: form}, true
		}
	}
	if strings.HasPrefix(text, "${") || strings.HasPrefix(text, "$(") {
		return Problem{Detail: "is a placeholder", Hint: notReplaced}, true
	}
	scheme, _, ok := strings.Cut(text, "://")
	if !ok {
		if strings.HasPrefix(text, "postgres:") || strings.HasPrefix(text, "postgresql:") {
			return Problem{Detail: "lacks the two slashes after the scheme", Hint: form}, true
		}
		return Problem{}, false
	}
	lower := strings.ToLower(scheme)
	switch {
	case scheme == "postgres" || scheme == "postgresql":
		return Problem{}, false
	case lower == "postgres" || lower == "postgresql":
		return Problem{Detail: "has a scheme in capitals", Hint: "write postgres:// in lower case"}, true
	case otherDatabases[lower] != "":
		return Problem{Detail: "is the address of another database, " + otherDatabases[lower],
			Hint: "this needs PostgreSQL: " + form}, true
	case strings.HasPrefix(lower, "jdbc:postgresql"):
		return Problem{Detail: "is a JDBC address", Hint: form + ", the user and the password included"}, true
	case strings.HasPrefix(lower, "postgresql+") || strings.HasPrefix(lower, "postgres+"):
		return Problem{Detail: "names a driver in its scheme", Hint: "write postgres:// without it"}, true
	case strings.Contains(scheme, "="):
		return Problem{}, false // keyword=value with :// in some value
	}
	return Problem{Detail: "does not begin with postgres:// or postgresql://", Hint: form}, true
}
