package snippets_test

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// These are functions that the READMEs' code calls and leaves to the reader.
var site, from, to, amount = "", 1, 2, 3 //nolint:unused // see doc.go

func createSite(context.Context, string) error { return nil } //nolint:unused // see doc.go

func serve(context.Context, *pgxpool.Pool) error { return nil } //nolint:unused // see doc.go

func onPage(context.Context, *pgconn.Notification) error { return nil } //nolint:unused // see doc.go

func reload(context.Context, *pgx.Conn) error { return nil } //nolint:unused // see doc.go

func publish(context.Context, pgx.Tx) error { return nil } //nolint:unused // see doc.go
