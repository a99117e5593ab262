package lint_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/dev/lint"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// On a server that the user named there are databases of others: what reaches beyond the shadow is
// judged, not run.
func TestClusterWide(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal("the test's address does not parse")
	}
	db, err := shadow.Open(t.Context(), shadow.Options{URL: strings.Replace(url, cfg.Database, "postgres", 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	report, err := lint.Run(t.Context(), db,
		fstest.MapFS{"1_a.sql": {Data: []byte("---- tern: disable-tx ----\ndrop database " + cfg.Database + ";")}},
		lint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Findings) != 1 || report.Findings[0].Rule != "drop-database" {
		t.Errorf("%+v", report.Findings)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("the database is gone: %v", err)
	}
	conn.Close(t.Context())
}
