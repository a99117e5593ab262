package generate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// Broken is a query of another revision that does not work on the schema of this one.
type Broken struct {
	Query string
	File  string // of the query, in the repository
	Line  int
	Err   *pgconn.PgError
}

func (b Broken) String() string {
	return fmt.Sprintf("%s:%d: query %s: %s (SQLSTATE %s)", b.File, b.Line, b.Query, b.Err.Message, b.Err.Code)
}

// Against prepares the queries of the git revision ref, in the repository at dir, on db, which has
// the schema of this revision. It returns how many it tried and those that fail: a service of that
// revision breaks when the migrations are applied. Nothing is run, so a new column that an old
// INSERT leaves out is not seen; lint sees it.
//
// The queries are those in the code that sqlc generated, as the service sends them.
func Against(ctx context.Context, db *shadow.DB, dir, ref string) (tried int, broken []Broken, err error) {
	if strings.HasPrefix(ref, "-") {
		return 0, nil, fmt.Errorf("revision %q: not a revision", ref)
	}
	commit, err := git(ctx, dir, "rev-parse", "--verify", "--end-of-options", ref+"^{commit}")
	if err != nil {
		return 0, nil, fmt.Errorf("revision %s: %w", ref, err)
	}
	commit = strings.TrimSpace(commit)
	queries, err := readQueries(ctx, dir, commit)
	if err != nil {
		return 0, nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, db.Config())
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, q := range queries {
		_, err := conn.PgConn().Prepare(ctx, "", q.sql, nil)
		var pgErr *pgconn.PgError
		switch {
		case errors.As(err, &pgErr):
			q.Err = pgErr
			broken = append(broken, q.Broken)
		case err != nil:
			return tried, broken, err
		}
		tried++
	}
	return tried, broken, nil
}

type query struct {
	Broken
	sql string
}

var (
	queryName  = regexp.MustCompile(`\A-- name: (\w+) :`)
	sourceFile = regexp.MustCompile(`(?m)^// source: (\S+)$`)
)

// readQueries returns the queries in the generated code of a commit, each with its place in the SQL
// file that it was generated from.
func readQueries(ctx context.Context, dir, commit string) ([]query, error) {
	names, err := git(ctx, dir, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit)
	if err != nil {
		return nil, err
	}
	var queries []query
	files := strings.Split(names, "\x00")
	for _, file := range files {
		if !strings.HasSuffix(file, ".sql.go") {
			continue
		}
		text, err := git(ctx, dir, "cat-file", "blob", commit+":"+file)
		if err != nil {
			return nil, err
		}
		if !generated.MatchString(text) {
			continue
		}
		source := ""
		if m := sourceFile.FindStringSubmatch(text); m != nil {
			source = m[1]
		}
		found, err := constants(file, text)
		if err != nil {
			return nil, err
		}
		for _, q := range found {
			if err := q.locate(ctx, dir, commit, source, files); err != nil {
				return nil, err
			}
			queries = append(queries, q)
		}
	}
	return queries, nil
}

// constants returns the queries of a generated file with their places in it.
func constants(name, text string) ([]query, error) {
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var queries []query
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		sql, err := strconv.Unquote(literal.Value)
		if m := queryName.FindStringSubmatch(sql); err == nil && m != nil {
			queries = append(queries, query{
				Broken: Broken{Query: m[1], File: name, Line: positions.Position(literal.Pos()).Line}, sql: sql,
			})
		}
		return true
	})
	return queries, nil
}

// locate finds the query in its SQL file. It stays where it is in the Go file if there are several
// SQL files of that name that have it, or none.
func (q *query) locate(ctx context.Context, dir, commit, source string, files []string) error {
	header := regexp.MustCompile(`(?m)^\s*--\s*name:\s*` + q.Query + `\s`)
	var places []Broken
	for _, file := range files {
		if source == "" || path.Base(file) != path.Base(source) {
			continue
		}
		text, err := git(ctx, dir, "cat-file", "blob", commit+":"+file)
		if err != nil {
			return err
		}
		if at := header.FindStringIndex(text); at != nil {
			before := text[:at[0]] + strings.TrimRight(text[at[0]:at[1]], " \t\n")
			places = append(places, Broken{File: file, Line: 1 + strings.Count(strings.TrimRight(before, "\n"), "\n")})
		}
	}
	if len(places) == 1 {
		q.File, q.Line = places[0].File, places[0].Line
	}
	return nil
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	var out, message bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &message
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(message.String()))
	}
	return out.String(), nil
}
