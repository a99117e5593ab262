// Package db holds the queries of the example: SQL in queries/, turned into Go by sqlc, with the
// types of the columns in migrations/. A query takes a *pgxpool.Pool, a *pgx.Conn or a pgx.Tx
// alike:
//
//	page, err := db.New(pool).PageByPath(ctx, db.PageByPathParams{SiteID: site, Path: "/about"})
//
// A query that returns one row returns pgx.ErrNoRows when there is none; where that means more than
// "not found", the query's comment says what.
package db
