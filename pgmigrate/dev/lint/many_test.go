package lint_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/page-builder/persistence/pgmigrate/dev/lint"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// Judging many statements takes time in proportion to applying them. A query that reads all
// relations after each statement would exceed the limit.
func TestManyStatements(t *testing.T) {
	const n = 400
	var tables strings.Builder
	for i := range n {
		fmt.Fprintf(&tables, "create table t%d (id bigint primary key, a int check (a > 0));\n", i)
	}
	fsys := fstest.MapFS{"1_tables.sql": {Data: []byte(tables.String())}}
	plain, err := shadow.Open(t.Context(), shadow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	start := time.Now()
	if err := plain.Exec(t.Context(), tables.String()); err != nil {
		t.Fatal(err)
	}
	applied := time.Since(start)
	start = time.Now()
	run(t, fsys, lint.Options{})
	judged := time.Since(start)
	t.Logf("%d statements: applied in %v, judged in %v", n, applied.Round(time.Millisecond),
		judged.Round(time.Millisecond))
	if judged > 30*applied {
		t.Errorf("judging takes %.0f times as long as applying", float64(judged)/float64(applied))
	}
}
