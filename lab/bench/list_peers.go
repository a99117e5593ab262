package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/Masterminds/squirrel"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // GORM's driver
	"github.com/stephenafamo/bob/dialect/psql"
	"github.com/stephenafamo/bob/dialect/psql/sm"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/page-builder/persistence/pgquery"
)

// filteredLists returns the ways to a list of 20 whose two filters may be left out. Each reads one
// row more, as a page has to. All but GORM are on the pool.
func filteredLists(url string, pool *pgxpool.Pool) (sides []side, end func(), err error) {
	state, author := "live", int32(2)
	list := newList()
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, nil, err
	}
	end = func() { _ = db.Close() }
	orm, err := gorm.Open(postgres.New(postgres.Config{Conn: db}), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return nil, end, err
	}
	check := func(rows []listRow, err error) error {
		if err == nil && len(rows) != 21 {
			err = fmt.Errorf("%d rows", len(rows))
		}
		return err
	}
	return []side{
		{"pgx, by hand", func(ctx context.Context) error {
			return check(queryList(ctx, pool, listSelect+` where p.site = $1 and p.author = $2 and p.state = $3
				order by p.created desc, p.id desc limit 21`, int32(9), author, state))
		}},
		{"pgquery", func(ctx context.Context) error {
			args := listArgs{Site: 9, State: &state, Author: &author}
			page, err := list.Page(ctx, pool, args, pgquery.At{Sort: "newest"})
			if err == nil && (len(page.Rows) != 20 || page.Next == "") {
				err = fmt.Errorf("%d rows", len(page.Rows))
			}
			return err
		}},
		{"sqlc, narg is null or", func(ctx context.Context) error {
			return check(listByNull(ctx, pool, 9, &state, &author, nil))
		}},
		{"squirrel on pgx", func(ctx context.Context) error {
			text, args, err := squirrel.StatementBuilder.PlaceholderFormat(squirrel.Dollar).
				Select("p.id", "p.title", "p.state", "p.prio", "p.due", "p.created").From("pages p").
				Where(squirrel.Eq{"p.site": 9}).Where(squirrel.Eq{"p.author": author}).
				Where(squirrel.Eq{"p.state": state}).OrderBy("p.created desc", "p.id desc").Limit(21).ToSql()
			if err != nil {
				return err
			}
			return check(queryList(ctx, pool, text, args...))
		}},
		{"bob on pgx", func(ctx context.Context) error {
			text, args, err := psql.Select(
				sm.Columns("p.id", "p.title", "p.state", "p.prio", "p.due", "p.created"), sm.From("pages").As("p"),
				sm.Where(psql.Raw("p.site").EQ(psql.Arg(9))), sm.Where(psql.Raw("p.author").EQ(psql.Arg(author))),
				sm.Where(psql.Raw("p.state").EQ(psql.Arg(state))), sm.OrderBy("p.created").Desc(),
				sm.OrderBy("p.id").Desc(), sm.Limit(21)).Build(ctx)
			if err != nil {
				return err
			}
			return check(queryList(ctx, pool, text, args...))
		}},
		{"GORM", func(ctx context.Context) error {
			var rows []listRow
			err := orm.WithContext(ctx).Table("pages").Where("site = ?", 9).Where("author = ?", author).
				Where("state = ?", state).Order("created desc, id desc").Limit(21).Find(&rows).Error
			return check(rows, err)
		}},
	}, end, nil
}

func queryList(ctx context.Context, db pgquery.DB, text string, args ...any) ([]listRow, error) {
	rows, err := db.Query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[listRow])
}

// scanList reads the rows as the code does that sqlc generates.
func scanList(rows pgx.Rows, err error) ([]listRow, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	items := []listRow{}
	for rows.Next() {
		var i listRow
		if err := rows.Scan(&i.ID, &i.Title, &i.State, &i.Prio, &i.Due, &i.Created); err != nil {
			return nil, err
		}
		items = append(items, i)
	}
	return items, rows.Err()
}

// listByCase has the optional filters of sqlc's documentation: case when narg is null.
func listByCase(
	ctx context.Context, db pgquery.DB, site int32, state *string, author *int32, title *string,
) ([]listRow, error) {
	return scanList(db.Query(ctx, `-- name: ListByCase :many
		`+listSelect+` where p.site = $1
		and case when $2::text is null then true else p.state = $2 end
		and case when $3::int is null then true else p.author = $3 end
		and case when $4::text is null then true else p.title = $4 end
		order by p.created desc, p.id desc limit 21`, site, state, author, title))
}

// listByNull has the same with OR, which the planner simplifies while it knows the values.
func listByNull(
	ctx context.Context, db pgquery.DB, site int32, state *string, author *int32, title *string,
) ([]listRow, error) {
	return scanList(db.Query(ctx, `-- name: ListByNull :many
		`+listSelect+` where p.site = $1
		and ($2::text is null or p.state = $2) and ($3::int is null or p.author = $3)
		and ($4::text is null or p.title = $4)
		order by p.created desc, p.id desc limit 21`, site, state, author, title))
}
