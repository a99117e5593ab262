package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/pgtx"
)

// retry lets a second author change a page inside the first one's transaction.
func (s *story) retry(ctx context.Context) error {
	s.title("Two authors change one page at the same moment: the database refuses one, which runs again")
	home, err := db.New(s.pool).PageByPath(ctx, db.PageByPathParams{SiteID: s.site.ID, Path: "/"})
	if err != nil {
		return err
	}
	attempts := 0
	opts := pgtx.Options{TxOptions: pgx.TxOptions{IsoLevel: pgx.RepeatableRead}}
	began := time.Now()
	title, err := pgtx.ValueWith(ctx, s.pool, opts, func(ctx context.Context, tx pgx.Tx) (string, error) {
		attempts++
		var title string
		if err := tx.QueryRow(ctx, "select title from pages where id = $1", home.ID).Scan(&title); err != nil {
			return "", err
		}
		s.say("attempt %d reads the title %q", attempts, title)
		if attempts == 1 {
			// Use the pool: a separate transaction, as if from another process.
			_, err := s.pool.Exec(ctx, "update pages set title = title || ', since 1906' where id = $1", home.ID)
			if err != nil {
				return "", err
			}
			s.say("          meanwhile, another editor appends to it and commits")
		}
		err := tx.QueryRow(ctx, "update pages set title = $2 || ' · open today' where id = $1 returning title",
			home.ID, title).Scan(&title)
		if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) {
			s.say("          its own change meets SQLSTATE %s: %s", pgErr.Code, pgErr.Message)
		}
		return title, err
	})
	if err != nil {
		return err
	}
	if attempts != 2 || !strings.Contains(title, "since 1906") {
		return fmt.Errorf("after %d attempts the title is %q", attempts, title)
	}
	s.say("          and commits: %q has both changes, %s in all", title, since(began))
	return nil
}
