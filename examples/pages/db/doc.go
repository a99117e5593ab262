// Package db holds the queries of the example. sqlc turns the SQL in queries/ into Go, with the
// column types from migrations/. A query accepts a *pgxpool.Pool, a *pgx.Conn or a pgx.Tx:
//
//	page, err := db.New(pool).PageByPath(ctx, db.PageByPathParams{SiteID: site, Path: "/about"})
//
// A query that returns one row returns pgx.ErrNoRows if there is none. If that means more than "not
// found", the query's comment says what.
package db
