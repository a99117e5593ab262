package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stripe/pg-schema-diff/pkg/diff"
)

// structure asks pg-schema-diff. Its own trial of the plan is left out: it starts from an empty
// database, in which the types that it does not know are missing. Whoever runs the statements tries
// them on a copy of from.
func structure(ctx context.Context, from, to *pgx.ConnConfig, opts Options) ([]Statement, []string, error) {
	// It names the collation of every column, the default one too.
	defaultCollation := strings.NewReplacer(` COLLATE "pg_catalog"."default"`, "")
	fromDB, toDB := stdlib.OpenDB(*readOnly(from)), stdlib.OpenDB(*readOnly(to))
	defer fromDB.Close()
	defer toDB.Close()
	for _, db := range []*sql.DB{fromDB, toDB} {
		db.SetMaxOpenConns(maxConns)
		db.SetMaxIdleConns(maxConns)
		if err := db.PingContext(ctx); err != nil {
			return nil, nil, fmt.Errorf("connect: %w", err)
		}
	}
	plan := []diff.PlanOpt{
		diff.WithDoNotValidatePlan(), diff.WithExcludeSchemas(opts.historySchema()), diff.WithLogger(silent{}),
	}
	if opts.NoConcurrently {
		plan = append(plan, diff.WithNoConcurrentIndexOps())
	}
	result, err := diff.Generate(ctx, diff.DBSchemaSource(fromDB), diff.DBSchemaSource(toDB), plan...)
	if err != nil {
		return nil, nil, fmt.Errorf("pg-schema-diff: %w", err)
	}
	var (
		statements []Statement
		notes      []string
		ours       = opts.ofVersionTable()
	)
	for _, s := range result.Statements {
		switch {
		case ours.MatchString(s.DDL):
		case extensionUpdate.MatchString(s.DDL):
			// Which versions a server can install is its own matter.
			notes = append(notes, "not counted, an extension's version: "+s.DDL)
		default:
			statement := Statement{SQL: strings.TrimSuffix(strings.TrimSpace(defaultCollation.Replace(s.DDL)), ";")}
			for _, h := range s.Hazards {
				statement.Hazards = append(statement.Hazards, Hazard{Type: h.Type, Message: h.Message})
			}
			statements = append(statements, statement)
		}
	}
	return statements, notes, nil
}

// maxConns is one: pg-schema-diff asks some queries per table, and each further session has to plan
// them and read the catalog anew. On a hundred tables and two cores one takes 1.5 s, two take 3.
const maxConns = 1

// ofVersionTable recognizes statements about tern's table, which is there or not depending on who
// made the database.
func (o Options) ofVersionTable() *regexp.Regexp {
	schema, table := o.versionTable()
	name := regexp.QuoteMeta(quoted(schema) + "." + quoted(table))
	return regexp.MustCompile(`^(ALTER TABLE|CREATE TABLE|DROP TABLE|GRANT \w+ ON|REVOKE \w+ ON) ` + name + `(\W|$)`)
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

var extensionUpdate = regexp.MustCompile(`^ALTER EXTENSION .* UPDATE`)

// cannotRead reports whether pg-schema-diff gave up before it compared anything, over something
// that it does not know.
func cannotRead(err error) bool {
	return err != nil && !unreadable(err) && strings.HasPrefix(err.Error(), "pg-schema-diff: getting ")
}

// unreadable reports whether the error is a server's: what pg-schema-diff cannot do, it says
// itself.
func unreadable(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr)
}

// silent is a logger: what there is to say is in the result.
type silent struct{}

func (silent) Errorf(string, ...any) {}

func (silent) Warnf(string, ...any) {}
