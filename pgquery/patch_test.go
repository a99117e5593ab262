package pgquery_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgquery"
)

type patchArgs struct {
	ID      int64
	Site    int32
	Version int32
	Title   pgquery.Optional[string] `db:"title,notnull"`
	Due     pgquery.Optional[time.Time]
	Prio    pgquery.Optional[int32] `db:"prio,notnull"`
}

type patchRow struct {
	ID      int64
	Title   string
	Due     *time.Time
	Prio    int32
	Version int32
}

func newPatch() *pgquery.Patch[patchArgs, patchRow] {
	return &pgquery.Patch[patchArgs, patchRow]{
		Name: "patch_page", Table: "public.pages", Where: "id = @id and site = @site", Version: "version",
		Columns: []string{"title", "due", "prio"}, Returning: "id, title, due, prio, version",
	}
}

func TestPatch(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	db := &recording{DB: pool}
	p := newPatch()
	due := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	row, err := p.Apply(t.Context(), db, patchArgs{
		ID: 2, Site: 1, Version: 1, Title: pgquery.Value("new"),
		Due: pgquery.Value(due),
	})
	if err != nil || row.Title != "new" || !row.Due.Equal(due) || row.Version != 2 || row.Prio != 1 {
		t.Fatalf("%+v, %v", row, err)
	}
	if text := db.texts[0]; strings.Contains(text, "prio\" =") || !strings.HasPrefix(text,
		"-- name: patch_page :one\n") {
		t.Error(text)
	}
	if row, err = p.Apply(t.Context(), pool, patchArgs{
		ID: 2, Site: 1, Version: 2,
		Due: pgquery.Null[time.Time](),
	}); err != nil || row.Due != nil || row.Title != "new" || row.Version != 3 {
		t.Errorf("%+v, %v", row, err)
	}
	// Nothing given: the row is read but not written.
	if row, err = p.Apply(t.Context(), db, patchArgs{ID: 2, Site: 1, Version: 3}); err != nil || row.Version != 3 {
		t.Errorf("%+v, %v", row, err)
	}
	if text := db.texts[1]; strings.Contains(text, "update") {
		t.Error(text)
	}
	var changed *pgquery.ChangedError
	for _, title := range []pgquery.Optional[string]{pgquery.Value("late"), {}} {
		_, err = p.Apply(t.Context(), pool, patchArgs{ID: 2, Site: 1, Version: 2, Title: title})
		if !errors.As(err, &changed) || changed.Version != int32(3) || errors.Is(err, pgx.ErrNoRows) ||
			!strings.Contains(err.Error(), "was changed") {
			t.Errorf("%v", err)
		}
		if pgerr.Of(fmt.Errorf("save: %w", err)) != pgquery.Changed || pgerr.Retryable(err) {
			t.Errorf("category %s, retryable: %v", pgerr.Of(err), pgerr.Retryable(err))
		}
		_, err = p.Apply(t.Context(), pool, patchArgs{ID: 2, Site: 2, Version: 3, Title: title})
		if !errors.Is(err, pgx.ErrNoRows) || errors.As(err, &changed) {
			t.Errorf("a row that Where does not find: %v", err)
		}
	}
}

func TestPatchWithoutVersion(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	type args struct {
		Site  int32
		Title pgquery.Optional[string]
	}
	p := &pgquery.Patch[args, patchRow]{
		Name: "patch", Table: "pages", Where: "site = @site", Always: "prio = 9", Columns: []string{"title"},
		Returning: "id, title, due, prio, version",
	}
	if _, err := p.Apply(t.Context(), pool, args{Site: 7, Title: pgquery.Value("a")}); !errors.Is(err, pgx.ErrNoRows) {
		t.Error(err)
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), "alter table pages drop constraint title_taken"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Apply(t.Context(), tx, args{Site: 1, Title: pgquery.Value("a")}); !errors.Is(err,
		pgx.ErrTooManyRows) {
		t.Error(err)
	}
	if _, err := tx.Exec(t.Context(), "delete from pages where id > 1"); err != nil {
		t.Fatal(err)
	}
	if row, err := p.Apply(t.Context(), tx, args{Site: 1, Title: pgquery.Value("b")}); err != nil || row.Prio != 9 ||
		row.Version != 1 {
		t.Errorf("%+v, %v", row, err)
	}
}

func TestPatchErrors(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	var wrong *pgquery.ArgumentError
	for name, args := range map[string]patchArgs{
		"null":      {ID: 2, Site: 1, Version: 1, Title: pgquery.Null[string]()},
		"NUL":       {ID: 2, Site: 1, Version: 1, Title: pgquery.Value("a\x00")},
		"not UTF-8": {ID: 2, Site: 1, Version: 1, Title: pgquery.Value("a\xff")},
		"a time":    {ID: 2, Site: 1, Version: 1, Due: pgquery.Value(time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC))},
	} {
		if _, err := newPatch().Apply(t.Context(), nothing{t}, args); !errors.As(err, &wrong) ||
			wrong.Declaration != "patch patch_page" {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := newPatch().Apply(t.Context(), pool, patchArgs{ID: 2, Site: 1, Version: 1, Title: pgquery.Value("page 2")})
	if server := (*pgconn.PgError)(nil); !errors.As(err, &server) || server.ConstraintName != "title_taken" {
		t.Error(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newPatch().Apply(canceled, pool, patchArgs{ID: 2, Site: 1, Version: 1}); !errors.Is(err,
		context.Canceled) {
		t.Error(err)
	}
	failing := &failSecond{DB: pool}
	if _, err := newPatch().Apply(t.Context(), failing, patchArgs{ID: 2, Site: 1, Version: 7}); !errors.Is(err,
		errSecond) {
		t.Error(err)
	}
	noTable := newPatch()
	noTable.Table = "nowhere"
	if _, err := noTable.Apply(t.Context(), pool, patchArgs{ID: 2, Site: 1, Version: 1}); err == nil {
		t.Error("a table that is not there was read")
	}
}

var errSecond = errors.New("second")

// failSecond fails the second query.
type failSecond struct {
	pgquery.DB
	n int
}

func (f *failSecond) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if f.n++; f.n == 2 {
		return nil, errSecond
	}
	return f.DB.Query(ctx, sql, args...)
}

func TestPatchDeclarations(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*pgquery.Patch[patchArgs, patchRow]){
		`Name: must be`:               func(p *pgquery.Patch[patchArgs, patchRow]) { p.Name = "a b" },
		`Table: must be a name`:       func(p *pgquery.Patch[patchArgs, patchRow]) { p.Table = "pages, sites" },
		`Table: the text is empty`:    func(p *pgquery.Patch[patchArgs, patchRow]) { p.Table = "" },
		`Where: the text is empty`:    func(p *pgquery.Patch[patchArgs, patchRow]) { p.Where = "" },
		`Where: the field title may`:  func(p *pgquery.Patch[patchArgs, patchRow]) { p.Where += " and title = @title" },
		`Columns: are 0, and must be`: func(p *pgquery.Patch[patchArgs, patchRow]) { p.Columns = nil },
		`Columns: are 65, and must`:   func(p *pgquery.Patch[patchArgs, patchRow]) { p.Columns = make([]string, 65) },
		`Columns[due]: is set twice`: func(p *pgquery.Patch[patchArgs, patchRow]) {
			p.Columns = []string{
				"due",
				"due",
			}
		},
		`Columns[version]: is set`: func(p *pgquery.Patch[patchArgs, patchRow]) {
			p.Columns = append(p.Columns,
				"version")
		},
		`Columns[x]: the column has no field`: func(p *pgquery.Patch[patchArgs, patchRow]) {
			p.Columns = append(p.Columns,
				"x")
		},
		`Columns[site]: the field`: func(p *pgquery.Patch[patchArgs, patchRow]) {
			p.Columns = append(p.Columns,
				"site")
		},
		`Version: column v has no`: func(p *pgquery.Patch[patchArgs, patchRow]) { p.Version = "v" },
		`Version: the field prio`: func(p *pgquery.Patch[patchArgs,
			patchRow],
		) {
			p.Version = "prio"
			p.Columns = p.Columns[:2]
		},
		`Always: a semicolon`: func(p *pgquery.Patch[patchArgs,
			patchRow],
		) {
			p.Always = "prio = 1; drop table pages"
		},
		`Always: has a where of its`: func(p *pgquery.Patch[patchArgs, patchRow]) { p.Always = "prio = 1 where true" },
		`Returning: has a from of`:   func(p *pgquery.Patch[patchArgs, patchRow]) { p.Returning = "id from pages" },
	} {
		p := newPatch()
		change(p)
		_, err := p.Apply(t.Context(), nothing{t}, patchArgs{})
		wantsDeclarationError(t, err, want)
		if d := p.Declaration(); len(d.Problems) == 0 || d.Patch != nil {
			t.Errorf("%s: described without a problem", want)
		}
	}
	type scalar int
	p := &pgquery.Patch[patchArgs, scalar]{
		Name: "p", Table: "pages", Where: "id = @id and site = @site",
		Version: "version", Columns: newPatch().Columns, Returning: "id",
	}
	_, err := p.Apply(t.Context(), nothing{t}, patchArgs{})
	wantsDeclarationError(t, err, "row: pgquery_test.scalar is not a struct")
}
