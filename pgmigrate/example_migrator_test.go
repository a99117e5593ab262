package pgmigrate_test

import (
	"context"
	"fmt"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
)

func ExampleMigrator_Up() {
	m, _, end := newMigrator(pages)
	defer end()
	for range 2 { // every instance that starts calls it
		result, err := m.Up(context.Background())
		fmt.Println(len(result.Steps), "applied; now at version", result.To, err)
	}
	// Output:
	// 2 applied; now at version 2 <nil>
	// 0 applied; now at version 2 <nil>
}

func ExampleMigrator_To() {
	m, _, end := newMigrator(pages)
	defer end()
	if _, err := m.Up(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	result, err := m.To(context.Background(), 0)
	for _, step := range result.Steps {
		fmt.Println(step.Direction, step.Name)
	}
	fmt.Println(result.To, err)
	// Output:
	// down 002_titles.sql
	// down 001_pages.sql
	// 0 <nil>
}

func ExampleMigrator_Status() {
	m, _, end := newMigrator(pages)
	defer end()
	if _, err := m.To(context.Background(), 1); err != nil {
		fmt.Println(err)
		return
	}
	status, err := m.Status(context.Background())
	for _, migration := range status.Migrations {
		fmt.Println(migration.Name, migration.Applied)
	}
	fmt.Println(status.Pending(), "pending", err)
	// Output:
	// 001_pages.sql true
	// 002_titles.sql false
	// 1 pending <nil>
}

func ExampleMigrator_Plan() {
	m, _, end := newMigrator(pages)
	defer end()
	plan, err := m.Plan(context.Background())
	for _, migration := range plan.Steps {
		for _, statement := range migration.Statements(pgmigrate.DirectionUp) {
			fmt.Printf("%s:%d: %s\n", migration.Name, statement.Line, statement.SQL)
		}
	}
	fmt.Println(err)
	// Output:
	// 001_pages.sql:1: create table pages (id int primary key, slug text not null)
	// 002_titles.sql:1: alter table pages add title text
	// <nil>
}

func ExampleMigrator_History() {
	m, _, end := newMigrator(pages)
	defer end()
	if _, err := m.Up(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := m.Redo(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	history, err := m.History(context.Background())
	for _, entry := range history {
		fmt.Println(entry.Action, entry.Name) // and when, by whom, how long
	}
	fmt.Println(err)
	// Output:
	// up 001_pages.sql
	// up 002_titles.sql
	// down 002_titles.sql
	// up 002_titles.sql
	// <nil>
}

// A database that was made by hand has what the first migration does.
func ExampleMigrator_Baseline() {
	m, cfg, end := newMigrator(pages)
	defer end()
	execute(cfg, `create table pages (id int primary key, slug text not null)`)
	if err := m.Baseline(context.Background(), 1); err != nil {
		fmt.Println(err)
		return
	}
	result, err := m.Up(context.Background())
	fmt.Println(result.From, result.To, err)
	// Output: 1 2 <nil>
}

// A Migrator is a Schema for pghealth. Any other health check with its own connection can ask too.
func ExampleMigrator_SchemaVersion() {
	m, cfg, end := newMigrator(pages)
	defer end()
	conn, err := pgx.ConnectConfig(context.Background(), cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close(context.Background())
	for range 2 {
		current, needed, dirty, err := m.SchemaVersion(context.Background(), conn)
		switch {
		case err != nil:
			fmt.Println(err)
		case dirty:
			fmt.Println("a migration stopped half-way")
		case current < needed:
			fmt.Println("the schema is behind this binary")
		default:
			fmt.Println("ready")
		}
		if _, err := m.Up(context.Background()); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// the schema is behind this binary
	// ready
}

// Another job migrates. This service needs the last migration that it was built with.
func ExampleMigrator_WaitFor() {
	m, _, end := newMigrator(pages)
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	job := make(chan error, 1)
	go func() {
		_, err := m.Up(ctx)
		job <- err
	}()
	fmt.Println(m.WaitFor(ctx, int32(len(m.Migrations()))), <-job)
	// Output: <nil> <nil>
}

// Seeds run once for each content; an edited one runs again.
func ExampleMigrator_Seed() {
	m, _, end := newMigrator(pages)
	defer end()
	if _, err := m.Up(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	seeds := fstest.MapFS{ // os.DirFS("seeds")
		"01_home.sql":             {Data: []byte("insert into pages values (1, 'home') on conflict do nothing;")},
		"development/02_demo.sql": {Data: []byte("insert into pages values (2, 'demo') on conflict do nothing;")},
	}
	for range 2 {
		result, err := m.Seed(context.Background(), seeds, "development")
		fmt.Println(result.Run, result.Skipped, err)
	}
	// Output:
	// [01_home.sql development/02_demo.sql] [] <nil>
	// [] [01_home.sql development/02_demo.sql] <nil>
}

// A section without a transaction failed half-way. Somebody has looked at what its statements did,
// and undone it.
func ExampleMigrator_Resolve() {
	m, cfg, end := newMigrator(fstest.MapFS{
		"001_pages.sql": {
			Data: []byte("---- tern: disable-tx ----\ncreate table pages (id int);\n" +
				"do $$ begin commit; perform 1 / (count(*) - 1) from sites; end $$;\n"),
		},
	})
	defer end()
	execute(cfg, `create table sites (slug text)`)
	execute(cfg, `insert into sites values ('fernhill')`)
	_, err := m.Up(context.Background())
	fmt.Println(err != nil)
	_, err = m.Up(context.Background()) // does not start the section again
	report(err)

	execute(cfg, `drop table pages`)
	execute(cfg, `insert into sites values ('harbour')`)
	if err := m.Resolve(context.Background(), 1, pgmigrate.ResolveRolledBack); err != nil {
		fmt.Println(err)
		return
	}
	result, err := m.Up(context.Background())
	fmt.Println(result.To, err)
	// Output:
	// true
	// dirty: 001_pages.sql, statement 2 at line 3
	// 1 <nil>
}

// execute changes the database as a person would.
func execute(cfg *pgx.ConnConfig, sql string) {
	conn, err := pgx.ConnectConfig(context.Background(), cfg)
	if err != nil {
		panic("connect")
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), sql); err != nil {
		panic(err)
	}
}
