package guides_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest"
)

var (
	// message is the first cell of a table's row.
	message = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
	verb    = regexp.MustCompile(`%[+#]?[a-z]`)
)

// Every message of troubleshooting.md really exists: a mistake made here prints it, or it is a
// constant in the modules' code or in the server's program.
func TestMessages(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(root + "/docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	met, written, server := mistakes(t), constants(t), serverProgram(t)
	count := map[string]int{}
	for _, found := range message.FindAllStringSubmatch(string(text), -1) {
		m := found[1]
		switch {
		case toPattern(m).MatchString(met):
			count["met"]++
		case contains(m, func(part string) bool { return anyContains(written, part) }):
			count["written"]++
		case server == "":
			count["not looked up"]++
		case contains(m, func(part string) bool { return strings.Contains(server, part) }):
			count["server"]++
		default:
			t.Errorf("nothing prints %q", m)
		}
	}
	t.Logf("messages: %v; met:\n%s", count, met)
	if count["met"] < 10 || count["met"]+count["written"]+count["server"]+count["not looked up"] < 30 {
		t.Errorf("too few messages: %v", count)
	}
}

// contains reports whether all parts between … are there. Short parts prove nothing, so at least
// one must be long.
func contains(message string, there func(part string) bool) bool {
	long := 0
	for part := range strings.SplitSeq(message, "…") {
		if part = strings.Trim(part, ` "`); len(part) < 3 {
			continue
		}
		if !there(part) {
			return false
		}
		long = max(long, len(part))
	}
	return long >= 10
}

func anyContains(texts []string, part string) bool {
	for _, text := range texts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// mistakes makes cheap mistakes and returns their messages.
func mistakes(t *testing.T) string {
	t.Helper()
	var said strings.Builder
	for _, env := range []map[string]string{
		{},
		{"DATABASE_URL": "postgres://app:p@ss/word@db/shop"},
		{"DATABASE_URL": "mysql://app@db/shop"},
		{"DATABASE_URL": "postgres://app@db.example.com/shop?sslmode=disable"},
		{"DATABASE_URL": "postgres://app@db.example.com/shop?sslmode=require"},
		{"DATABASE_URL": "postgres://app@localhost"},
		{"DATABASE_URL": "postgres://app@localhost/app?shema=x"},
		{"DATABASE_URL": "postgres://app@localhost/app", "DATABASE_URL_FILE": "/x"},
		{"DATABASE_URL_FILE": "/nowhere/database-url"},
		{"DATABASE_URL": "postgres://app@localhost/app", "DATABASE_LOCK_TIMEOUT": "5"},
		{"DATABASE_URL": "postgres://app@localhost/app", "APP_ENV": "prod"},
		{
			"DATABASE_URL": "postgres://app@localhost/app", "DATABASE_POOL_MAX_CONNS": "2",
			"DATABASE_POOL_MIN_IDLE_CONNS": "3",
		},
	} {
		cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: env})
		if err == nil {
			t.Errorf("%v is accepted: %v", env, cfg)
			continue
		}
		said.WriteString(err.Error() + "\n")
	}
	pooled, err := pgconfig.Parse("postgres://app@localhost/app?pgbouncer=true")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pooled.DirectConfig(); err != nil {
		said.WriteString(err.Error() + "\n")
	}
	pool := pgtest.New(t)
	said.WriteString(busy(t, pool))
	said.WriteString(refused(t, "postgres://app@127.0.0.1:1/app"))
	missing, err := url.Parse(pool.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	missing.Path = "/missing"
	said.WriteString(refused(t, missing.String()))
	return said.String()
}

// busy uses a connection while its rows are open.
func busy(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	rows, err := conn.Query(t.Context(), "select generate_series(1, 9)")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	_, err = conn.Exec(t.Context(), "select 1")
	if err == nil {
		t.Error("the connection was not busy")
		return ""
	}
	return err.Error() + "\n"
}

func refused(t *testing.T, address string) string {
	t.Helper()
	cfg, err := pgconfig.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgpool.Connect(t.Context(), cfg, pgpool.WithStartupTimeout(5*time.Second), pgpool.WithLogger(nil))
	if err == nil {
		pool.Close()
		t.Fatalf("%s is reached", cfg)
	}
	return err.Error() + "\n"
}

// constants returns the texts in the modules' code, split at the values that are filled in.
func constants(t *testing.T) []string {
	t.Helper()
	var texts []string
	for _, part := range []string{
		"magefile.go", "pgconfig", "pgerr", "pghealth", "pgmage", "pgmigrate", "pgotel", "pgpool", "pgquery",
		"pgstudio", "pgtest", "pgtx",
	} {
		err := filepath.WalkDir(filepath.Join(root, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			tree, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(tree, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil {
						texts = append(texts, verb.Split(text, -1)...)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return texts
}

// serverProgram returns the texts in the server's program, or "" if the program is on another
// machine or in a container.
func serverProgram(t *testing.T) string {
	t.Helper()
	var folder string
	pool := pgtest.New(t, pgtest.Superuser())
	if err := pool.QueryRow(t.Context(),
		"select setting from pg_config where name = 'BINDIR'").Scan(&folder); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(filepath.Join(folder, "postgres"))
	if err != nil {
		t.Log(err)
	}
	return string(program)
}
