package pgquery_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgquery"
)

func TestMaybe(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	read := func(where string) (author, bool, error) {
		rows, err := pool.Query(t.Context(), "select id, name, bio from authors where "+where)
		if err != nil {
			t.Fatal(err)
		}
		return pgquery.Maybe(rows, pgx.RowToStructByName[author])
	}
	if a, found, err := read("id = 2"); err != nil || !found || a.Name != "author 2" {
		t.Errorf("%+v, %v, %v", a, found, err)
	}
	if a, found, err := read("false"); err != nil || found || a != (author{}) {
		t.Errorf("%+v, %v, %v", a, found, err)
	}
	if _, found, err := read("true"); !errors.Is(err, pgx.ErrTooManyRows) || found {
		t.Errorf("%v, %v", found, err)
	}
	if _, found, err := read("1 / (id - id) = 1"); err == nil || found {
		t.Errorf("%v, %v", found, err)
	}
}

type pageWithAuthor struct {
	ID     int64
	Author *struct {
		ID   int32
		Name string
		Bio  *string
		Tags []string
		Mail pgquery.Optional[string]
	} `db:"author.*"`
}

// A pointer to a struct is nil if an outer join finds nothing.
func TestEmbeds(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	rows, err := pool.Query(t.Context(),
		`select p.id, a.id as "author.id", a.name as "author.name", a.bio as "author.bio",
		case when a.id = 1 then array['x'] end as "author.tags", case when a.id = 2 then 'm' end as "author.mail"
		from pages p left join authors a on a.id = p.author where p.id <= 4 order by p.id`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgquery.RowTo[pageWithAuthor]())
	if err != nil || len(got) != 4 {
		t.Fatalf("%v, %v", got, err)
	}
	if got[0].Author != nil {
		t.Errorf("%+v", got[0].Author)
	}
	if a := got[1].Author; a == nil || a.ID != 1 || a.Name != "author 1" || a.Bio != nil || len(a.Tags) != 1 ||
		!a.Mail.IsNull() {
		t.Errorf("%+v", a)
	}
	a := got[2].Author
	if mail, _ := a.Mail.Get(); a.ID != 2 || a.Bio == nil || *a.Bio != "bio" || a.Tags != nil || mail != "m" {
		t.Errorf("%+v", a)
	}
	if got[3].Author == a || got[3].Author.ID != 3 || got[3].Author.Bio != nil {
		t.Errorf("rows share an author: %+v", got[3].Author)
	}
}

func TestRowErrors(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	for sql, want := range map[string]string{
		`select 1::int8 as id, 1 as "author.id", null::text as "author.name", null::text as "author.bio",
			null::text[] as "author.tags", null::text as "author.mail"`: `"author.name" is null, and others of author.*`,
		`select 1::int8 as id`:                       `field author.ID of the row struct has no column`,
		`select 1::int8 as id, 2 as x`:               `column "x" has no field`,
		`select 1::int8 as id, 2 as id`:              `column "id" occurs twice`,
		`select 1::int8 as id, 1 as "author.passwd"`: `column "author.passwd" has no field`,
		`select 'a' as id, 1 as "author.id", null::text as "author.name", null::text as "author.bio", null::text[] as
			"author.tags", null::text as "author.mail"`: `cannot scan text`,
	} {
		rows, err := pool.Query(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pgx.CollectRows(rows, pgquery.RowTo[pageWithAuthor]()); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", sql, err)
		}
	}
	rows, err := pool.Query(t.Context(), "select 1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pgx.CollectRows(rows, pgquery.RowTo[int]()); err == nil || !strings.Contains(err.Error(),
		"int is not a struct") {
		t.Error(err)
	}
	// A list refuses a row that does not fit, even if earlier rows did.
	pages := newPages()
	if _, err := pages.Page(t.Context(), pool, pageArgs{Site: 1}, pgquery.At{Sort: "due"}); err != nil {
		t.Fatal(err)
	}
	other := newPages()
	other.Select = strings.Replace(other.Select, "p.state", "p.state as status", 1)
	if _, err := other.Page(t.Context(), pool, pageArgs{Site: 1}, pgquery.At{Sort: "due"}); err == nil ||
		!strings.Contains(err.Error(), `column "status" has no field`) {
		t.Error(err)
	}
	nullable := newPages()
	nullable.Select = strings.Replace(nullable.Select, "p.state", "null::text as state", 1)
	if _, err := nullable.Page(t.Context(), pool, pageArgs{Site: 1}, pgquery.At{Sort: "due"}); err == nil ||
		!strings.Contains(err.Error(), "cannot scan NULL") {
		t.Error(err)
	}
}
