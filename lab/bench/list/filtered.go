package list

import (
	"context"
	"database/sql"

	"github.com/Masterminds/squirrel"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // GORM's driver
	"github.com/stephenafamo/bob/dialect/psql"
	"github.com/stephenafamo/bob/dialect/psql/sm"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgquery"
)

// filteredLists returns the ways to a list of 20 whose two filters may be left out. Each reads one
// row more, as a page has to. All but GORM use the pool.
func filteredLists(url string, pool *pgxpool.Pool) (sides []harness.Side, end func(), err error) {
	state, author := "live", int32(2)
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, nil, err
	}
	orm, err := gorm.Open(postgres.New(postgres.Config{Conn: db}), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return nil, nil, err
	}
	// built runs what a builder made.
	built := func(ctx context.Context, text string, args []any, err error) error {
		if err != nil {
			return err
		}
		rows, err := query[row](ctx, pool, text, args...)
		return check(21, rows, err)
	}
	return []harness.Side{
		{Name: "pgx, by hand", Op: func(ctx context.Context) error {
			return built(ctx, pagesSelect+` where p.site = $1 and p.author = $2 and p.state = $3
				order by p.created desc, p.id desc limit 21`, []any{int32(9), author, state}, nil)
		}},
		{Name: "pgquery", Op: func(ctx context.Context) error {
			args := filters{Site: 9, State: &state, Author: &author}
			page, err := pages.Page(ctx, pool, args, pgquery.At{Sort: "newest"})
			return check(20, page.Rows, err)
		}},
		{Name: "sqlc, narg is null or", Op: func(ctx context.Context) error {
			rows, err := sqlcList(ctx, pool, withNull, 9, &state, &author, nil)
			return check(21, rows, err)
		}},
		{Name: "squirrel on pgx", Op: func(ctx context.Context) error {
			text, args, err := squirrel.StatementBuilder.PlaceholderFormat(squirrel.Dollar).
				Select("p.id", "p.title", "p.state", "p.prio", "p.due", "p.created").From("pages p").
				Where(squirrel.Eq{"p.site": 9}).Where(squirrel.Eq{"p.author": author}).
				Where(squirrel.Eq{"p.state": state}).OrderBy("p.created desc", "p.id desc").Limit(21).ToSql()
			return built(ctx, text, args, err)
		}},
		{Name: "bob on pgx", Op: func(ctx context.Context) error {
			text, args, err := psql.Select(
				sm.Columns("p.id", "p.title", "p.state", "p.prio", "p.due", "p.created"), sm.From("pages").As("p"),
				sm.Where(psql.Raw("p.site").EQ(psql.Arg(9))), sm.Where(psql.Raw("p.author").EQ(psql.Arg(author))),
				sm.Where(psql.Raw("p.state").EQ(psql.Arg(state))), sm.OrderBy("p.created").Desc(),
				sm.OrderBy("p.id").Desc(), sm.Limit(21)).Build(ctx)
			return built(ctx, text, args, err)
		}},
		{Name: "GORM", Op: func(ctx context.Context) error {
			var rows []row
			err := orm.WithContext(ctx).Table("pages").Where("site = ?", 9).Where("author = ?", author).
				Where("state = ?", state).Order("created desc, id desc").Limit(21).Find(&rows).Error
			return check(21, rows, err)
		}},
	}, func() { _ = db.Close() }, nil
}

const (
	// withCase has the optional filters of sqlc's documentation.
	withCase = `
		and case when $2::text is null then true else p.state = $2 end
		and case when $3::int is null then true else p.author = $3 end
		and case when $4::text is null then true else p.title = $4 end`
	// withNull has the same with OR, which the planner simplifies while it knows the values.
	withNull = `
		and ($2::text is null or p.state = $2) and ($3::int is null or p.author = $3)
		and ($4::text is null or p.title = $4)`
)

// sqlcList runs a query and reads its rows as code that sqlc generates does.
func sqlcList(
	ctx context.Context, db pgquery.DB, optional string, site int32, state *string, author *int32, title *string,
) ([]row, error) {
	rows, err := db.Query(ctx, pagesSelect+" where p.site = $1 "+optional+
		" order by p.created desc, p.id desc limit 21", site, state, author, title)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(line pgx.CollectableRow) (i row, err error) {
		err = line.Scan(&i.ID, &i.Title, &i.State, &i.Prio, &i.Due, &i.Created)
		return i, err
	})
}
