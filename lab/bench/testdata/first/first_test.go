// Package first is a package with a single test, for the bench to run with go test.
package first

import (
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/page-builder/persistence/pgtest"
)

var began = time.Now()

func TestFirst(t *testing.T) {
	schema := fstest.MapFS{}
	for i := range 20 {
		schema[fmt.Sprintf("%03d_t.sql", i+1)] = &fstest.MapFile{
			Data: fmt.Appendf(nil, "create table t%d (id bigint primary key, v text);", i),
		}
	}
	var n int
	if err := pgtest.New(t, pgtest.Migrations(schema)).QueryRow(t.Context(),
		"select count(*) from t0").Scan(&n); err != nil {
		t.Fatal(err)
	}
	fmt.Println("first", began.UnixNano(), time.Now().UnixNano())
}
