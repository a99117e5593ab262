package diff_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/backfill"
	"github.com/page-builder/persistence/pgmigrate/dev/diff"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// A column that becomes NOT NULL gets its values from a backfill, if that is wanted.
func TestBackfill(t *testing.T) {
	t.Parallel()
	const (
		from = `create table "T" (a int, "The key" text, "N" int, m text, primary key (a, "The key"));`
		to   = `create table "T" (a int, "The key" text, "N" int not null default 7, m text not null, primary key (a, "The key"));`
	)
	folder := after(from)
	result, err := diff.Make(t.Context(), folder, to, "values", diff.Options{})
	if err != nil || len(result.Backfills) > 0 || !strings.Contains(strings.Join(result.Notes, "\n"), "--backfill") {
		t.Fatalf("without the option: %v, %v", result, err)
	}
	if result, err = diff.Make(t.Context(), folder, to, "values", diff.Options{Backfills: true}); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(result.Notes, func(n string) bool { return strings.Contains(n, "which value m") }) {
		t.Errorf("no note says that m needs a value: %q", result.Notes)
	}
	for _, f := range result.Files {
		folder[f.Name] = &fstest.MapFile{Data: []byte(f.Content)}
	}
	backfills := fstest.MapFS{}
	for _, f := range result.Backfills {
		content := strings.Replace(f.Content, "null /* write the value here */", "'x'", 1)
		backfills[f.Name] = &fstest.MapFile{Data: []byte(content)}
	}
	config, err := pgserver.ParseConfig(pgserver.Database(t))
	if err != nil {
		t.Fatal("parse the test database's address")
	}
	m, err := pgmigrate.New(config, folder, pgmigrate.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.To(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `insert into "T" select i, i::text from generate_series(1, 100) i`); err != nil {
		t.Fatal(err)
	}
	r, err := backfill.New(config, backfills, backfill.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Up(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var filled int
	const filledRows = `select count(*) from "T" where "N" = 7 and m = 'x'`
	if err := conn.QueryRow(t.Context(), filledRows).Scan(&filled); err != nil ||
		filled != 100 {
		t.Errorf("%d rows, %v", filled, err)
	}
}
