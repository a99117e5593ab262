package lint_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/lint"
	"github.com/page-builder/persistence/pgmigrate/internal/expand"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// What "pgmigrate new --expand" writes has no finding but that a foreign key is dropped.
func TestExpand(t *testing.T) {
	t.Parallel()
	const schema = `create table kinds (code text primary key);
create table rows (id serial primary key, code text not null default 'x' check (code <> '') references kinds unique,
  note text);
create index on rows (lower(code));`
	for _, opts := range []expand.Options{
		{Kind: expand.Rename, Table: "rows", Column: "code", To: []string{"kind"}},
		{Kind: expand.Type, Table: "rows", Column: "id", Type: "bigint"},
		{Kind: expand.Type, Table: "rows", Column: "code", Type: "varchar(20)"},
		{Kind: expand.Split, Table: "rows", Column: "note", To: []string{"a=left(note, 1)"}, Back: "a"},
	} {
		t.Run(opts.Kind+" "+opts.Column, func(t *testing.T) {
			t.Parallel()
			config, err := pgserver.ParseConfig(pgserver.Database(t))
			if err != nil {
				t.Fatal("parse the test database's address")
			}
			files := fstest.MapFS{"001_first.sql": {Data: []byte(schema)}}
			m, err := pgmigrate.New(config, files, pgmigrate.WithLogger(nil))
			if err == nil {
				_, err = m.Up(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			conn, err := pgx.ConnectConfig(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			change, err := expand.Plan(t.Context(), conn, opts)
			if err != nil {
				t.Fatal(err)
			}
			contract := expand.Migration{Suffix: "_contract", Text: change.Contract}
			for i, file := range append(change.Migrations, contract) {
				name := fmt.Sprintf("%03d_%s%s.sql", i+2, change.Name, file.Suffix)
				files[name] = &fstest.MapFile{Data: []byte(file.Text)}
			}
			report := run(t, files, lint.Options{})
			for _, f := range report.Findings {
				if f.Version > 1 && f.Rule != "drop-foreign-key" { // in a file of its own, as it says
					t.Errorf("%s:%d: %s: %s: %s\n%s", f.File, f.Line, f.Severity, f.Rule, f.Message, f.Statement)
				}
			}
		})
	}
}
