package pgerr_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/page-builder/persistence/pgerr"
)

func TestViolationOf(t *testing.T) {
	t.Parallel()
	conn := database(t)
	_, err := conn.Exec(t.Context(), `
		create table sites (id int primary key);
		create table pages (
			id int primary key, site int references sites, path text not null,
			prio int check (prio > 0), during int4range,
			constraint apart exclude using gist (during with &&));
		create unique index path_taken on pages (site, path) where prio is null;
		insert into sites values (1);
		insert into pages values (1, 1, '/', null, '[1,5)')`)
	if err != nil {
		t.Fatal(err)
	}
	declared := pgerr.Constraints{
		"pages.path_taken": {Name: "path", Columns: []string{"site", "path"}},
		"pages.path":       {Name: "path_missing"},
	}
	for sql, want := range map[string]pgerr.Violation{
		`insert into pages values (2, 1, '/')`:                 {Name: "path", Kind: "unique", Constraint: "path_taken", Columns: []string{"site", "path"}},
		`insert into pages values (1, 1, '/b')`:                {Kind: "unique", Constraint: "pages_pkey"},
		`insert into pages values (2, 2, '/b')`:                {Kind: "foreign_key", Constraint: "pages_site_fkey"},
		`insert into pages values (2, 1, '/b', 0)`:             {Kind: "check", Constraint: "pages_prio_check"},
		`insert into pages values (2, 1, '/b', null, '[4,5)')`: {Kind: "exclusion", Constraint: "apart"},
	} {
		want.Schema, want.Table = "public", "pages"
		_, err := conn.Exec(t.Context(), sql)
		if got, ok := pgerr.ViolationOf(
			fmt.Errorf("wrapped: %w", err),
			declared,
		); !ok ||
			!reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", sql, got, ok, want)
		}
	}
	_, err = conn.Exec(t.Context(), `insert into pages values (2, 1, null)`)
	got, ok := pgerr.ViolationOf(err, declared) // its constraint has a name since PostgreSQL 18
	if !ok || got.Name != "path_missing" || got.Kind != "not_null" || got.Table != "pages" ||
		!reflect.DeepEqual(got.Columns, []string{"path"}) {
		t.Errorf("%+v, %v", got, ok)
	}
	if got, ok := pgerr.ViolationOf(err, nil); !ok || got.Name != "" || len(got.Columns) != 1 {
		t.Errorf("without declarations: %+v, %v", got, ok)
	}
	_, err = conn.Exec(t.Context(), `select 1 / 0`)
	for _, err := range []error{nil, errors.New("other"), err} {
		if got, ok := pgerr.ViolationOf(err, declared); ok || got.Kind != "" {
			t.Errorf("%v: %+v", err, got)
		}
	}
}
