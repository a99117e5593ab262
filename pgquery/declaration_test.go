package pgquery_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgquery"
)

// With a broken declaration every call returns an error that lists all mistakes.
func TestListDeclarations(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*pgquery.List[pageArgs, pageRow]){
		`Name: must be letters`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Name = "pages\n; drop table pages"
		},
		`Name: must be`:             func(l *pgquery.List[pageArgs, pageRow]) { l.Name = "" },
		`Select: the text is empty`: func(l *pgquery.List[pageArgs, pageRow]) { l.Select = "" },
		`Select: must begin with select or with`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Select = "delete from pages"
		},
		`Select: has a WHERE of its own`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Select += " WHERE true"
		},
		`Select: has a order of its own`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Select += " order by 1"
		},
		`Select: has a union of its own`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Select += " union select 1"
		},
		`Select: a semicolon`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Select += "; select 1"
		},
		`Select: the field State may be left out`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Select += " join x on @state"
		},
		`Where: is missing`: func(l *pgquery.List[pageArgs, pageRow]) { l.Where = " " },
		`Where: ')' closes nothing`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Where = "p.site = @site) or (true"
		},
		`Where: the field State may be left out`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Where = "p.site = @site and p.state = @state"
		},
		`Where: the field Since may be left out`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Where = "p.site = @site and p.created > @since"
		},
		`Where: @sit has no field in the argument`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Where = "p.site = @sit"
		},
		`arguments: nothing uses the field State`: func(l *pgquery.List[pageArgs, pageRow]) {
			delete(l.Filters,
				"state")
		},
		`Filters[stat]: the filter has no field in`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Filters["stat"] = "p.state = @state"
		},
		`Filters[site]: the field Site is always`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Filters["site"] = "p.site = @site"
		},
		`Filters[late]: the field Late is false`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Filters["late"] = "@late"
		},
		`Filters[author]: the field Author is needed`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Where = "p.author = any(@author) and p.site = @site"
		},
		`Sorts: are missing`:          func(l *pgquery.List[pageArgs, pageRow]) { l.Sorts = nil },
		`Sorts[a]: the text is empty`: func(l *pgquery.List[pageArgs, pageRow]) { l.Sorts["a"] = "" },
		`Sorts[b]: column ids is not a field`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Sorts["b"] = "ids"
		},
		`Sorts[c]: must be columns of Select`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Sorts["c"] = "id sideways"
		},
		`Sorts[d]: must be columns`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Sorts["d"] = "id, , title"
		},
		`Sorts[e]: must be columns of Select by name`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Sorts["e"] = "lower (title)"
		},
		`Sorts[f]: column id occurs twice`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Sorts["f"] = "id, ID desc"
		},
		`Sorts[g]: column author.id is not a field`: func(l *pgquery.List[pageArgs,
			pageRow],
		) {
			l.Sorts["g"] = `"author.id"`
		},
		`Sizes: are missing`:      func(l *pgquery.List[pageArgs, pageRow]) { l.Sizes = nil },
		`Sizes: 0 is not between`: func(l *pgquery.List[pageArgs, pageRow]) { l.Sizes = []int{0} },
		`Sizes: 7 occurs twice`: func(l *pgquery.List[pageArgs, pageRow]) {
			l.Sizes = []int{
				7,
				7,
			}
		},
		`Filters: are more than 64`: func(l *pgquery.List[pageArgs, pageRow]) {
			for i := range 65 {
				l.Filters[fmt.Sprint("f", i)] = "true"
			}
		},
	} {
		pages := newPages()
		change(pages)
		_, err := pages.Page(t.Context(), nothing{t}, pageArgs{Site: 1}, pgquery.At{})
		wantsDeclarationError(t, err, want)
		for _, err := range pages.All(t.Context(), nothing{t}, pageArgs{Site: 1}, pgquery.At{}) {
			wantsDeclarationError(t, err, want)
		}
		if d := pages.Declaration(); len(d.Problems) == 0 || d.List != nil {
			t.Errorf("%s: described without a problem", want)
		}
	}
}

func wantsDeclarationError(t *testing.T, err error, want string) {
	t.Helper()
	var wrong *pgquery.DeclarationError
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want a DeclarationError with %q", err, want)
	}
	if pgerr.Of(err) != pgerr.Statement {
		t.Errorf("category %q", pgerr.Of(err))
	}
}

type onlyID struct{ ID int64 }

// wantsArgs declares a list with A as arguments.
func wantsArgs[A any](t *testing.T, want string) {
	t.Helper()
	var args A
	list := &pgquery.List[A, onlyID]{
		Name: "l", Select: "select id from pages", Where: "true",
		Sorts: pgquery.Sorts{"id": "id"}, Sizes: []int{1},
	}
	_, err := list.Page(t.Context(), nothing{t}, args, pgquery.At{})
	wantsDeclarationError(t, err, want)
}

func wantsRow[R any](t *testing.T, sort, want string) {
	t.Helper()
	list := &pgquery.List[struct{}, R]{
		Name: "l", Select: "select id from pages", Where: "true",
		Sorts: pgquery.Sorts{"s": sort}, Sizes: []int{1},
	}
	_, err := list.Page(t.Context(), nothing{t}, struct{}{}, pgquery.At{})
	wantsDeclarationError(t, err, want)
}

func TestStructs(t *testing.T) {
	t.Parallel()
	wantsArgs[int](t, "arguments: int is not a struct")
	wantsArgs[struct{ A **string }](t, "field A: whether **string is null cannot be told")
	wantsArgs[struct{ A *[]string }](t, "field A: whether *[]string is null cannot be told")
	wantsArgs[struct{ A *pgtype.Text }](t, "field A: whether *pgtype.Text is null cannot be told")
	wantsArgs[struct{ A any }](t, "field A: whether interface {} is null cannot be told")
	wantsArgs[struct{ AB, A_B int }](t, "fields AB and A_B have the same name")
	wantsArgs[struct {
		A int `db:"a,nonull"`
	}](t, `field A: the tag's option "nonull" is unknown`)
	wantsArgs[struct {
		A int `db:"b"`
	}](t, `nothing uses the field b`)
	wantsRow[int](t, "id", "row: int is not a struct")
	wantsRow[struct {
		ID int64
		A  onlyID `db:"a.*"`
	}](t, "id", "row: field a.*: pgquery_test.onlyID is not a pointer to a struct")
	wantsRow[struct {
		ID int64
		A  *struct{ B, b, B_ int } `db:"a.*"`
	}](t, "id", "row: field a.*: fields B and B_ have the same name")
	wantsRow[struct{ ID pgtype.Numeric }](t, "id", "column id: only a signed cursor can carry pgtype.Numeric: set Keys")
}

// Fields of embedded structs are fields; those that are not exported or have the tag "-" are none.
func TestEmbeddedStructs(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	type base struct {
		Site int32 `db:"site"`
	}
	type args struct {
		base
		hidden int
		Other  int     `db:"-"`
		Name   *string `db:"wanted_title"`
	}
	type row struct {
		*base `db:"-"`
		onlyID
	}
	list := &pgquery.List[args, row]{
		Name: "l", Select: "select id from pages", Where: "site = @site",
		Filters: pgquery.Filters{"wanted_title": "title = @wanted_title"},
		Sorts:   pgquery.Sorts{"id": "id"}, Sizes: []int{3},
	}
	title := "page 3"
	page, err := list.Page(t.Context(), pool, args{base: base{1}, hidden: 1, Name: &title}, pgquery.At{})
	if err != nil || len(page.Rows) != 1 || page.Rows[0].ID != 4 {
		t.Errorf("%+v, %v", page, err)
	}
}
