package pgquery_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgquery"
	"github.com/page-builder/persistence/pgquery/pgquerytest"
)

type PageArgs struct {
	Site  int32
	State *string // nil: the filter of that name is off
	Text  *string
}

type PageRow struct {
	ID    int64
	Title string
	Due   *time.Time
}

var Pages = pgquery.List[PageArgs, PageRow]{
	Name:    "pages",
	Select:  `select p.id, p.title, p.due from pages p`,
	Where:   `p.site = @site`,
	Filters: pgquery.Filters{"state": `p.state = @state`, "text": `p.title ilike @text`},
	Sorts:   pgquery.Sorts{"title": `title, id`, "due": `due nulls last, id`},
	Sizes:   []int{20, 100},
}

func listPages(ctx context.Context, pool *pgxpool.Pool, r *http.Request) (pgquery.Page[PageRow], error) {
	args := PageArgs{Site: 1}
	if text := r.FormValue("text"); text != "" {
		pattern := "%" + pgquery.EscapeLike(text) + "%"
		args.Text = &pattern
	}
	return Pages.Page(ctx, pool, args, pgquery.At{Sort: r.FormValue("sort"), Cursor: r.FormValue("cursor")})
}

func TestQueries(t *testing.T) {
	pool := setup(t) // a migrated database, as pgtest.New returns it
	pgquerytest.Check(t, pool, &Pages, pgquerytest.Indexed(&Pages, "due"))
}

func TestListPages(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/?sort=title&text=PAGE%204", nil)
	if page, err := listPages(t.Context(), pool, r); err != nil || len(page.Rows) != 11 {
		t.Errorf("%d rows, %v", len(page.Rows), err)
	}
}

// A page of a list has the cursors of its neighbors.
func ExampleList() {
	t := &example{}
	defer t.end()
	ctx, pool := t.Context(), t.database()

	page, err := Pages.Page(ctx, pool, PageArgs{Site: 1}, pgquery.At{Sort: "due", Size: 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(page.Rows), page.Prev == "")
	page, err = Pages.Page(ctx, pool, PageArgs{Site: 1}, pgquery.At{Cursor: page.Next})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(page.Rows), page.Prev == "")
	// Output:
	// 20 true
	// 20 false
}

// A patch sets what the client sent.
func ExamplePatch() {
	type form struct {
		ID      int64                       `json:"-"`
		Version int32                       `json:"-"`
		Title   pgquery.Optional[string]    `db:"title,notnull" json:"title"`
		Due     pgquery.Optional[time.Time] `json:"due"`
	}
	update := pgquery.Patch[form, PageRow]{
		Name: "update_page", Table: "pages", Where: "id = @id", Version: "version",
		Columns: []string{"title", "due"}, Returning: "id, title, due",
	}
	t := &example{}
	defer t.end()
	ctx, pool := t.Context(), t.database()

	f := form{ID: 2, Version: 1}
	if err := json.Unmarshal([]byte(`{"due": null}`), &f); err != nil {
		fmt.Println(err)
		return
	}
	row, err := update.Apply(ctx, pool, f)
	fmt.Println(row.Title, row.Due, err)
	_, err = update.Apply(ctx, pool, f)
	fmt.Println(err)
	// Output:
	// page 1 <nil> <nil>
	// pgquery: patch update_page: the row was changed since it was read; read it again
}
