package replica_test

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool/replica"
)

// The life of a service's cluster: DATABASE_URL is the primary, DATABASE_REPLICA_URLS are what it reads from.
func ExampleOpen() {
	run := func(ctx context.Context, serve func(context.Context, *replica.Cluster) error) error {
		cfg, err := pgconfig.Load()
		if err != nil {
			return err
		}
		cluster, err := replica.Open(ctx, cfg)
		if err != nil {
			return err
		}
		serveErr := serve(ctx, cluster)

		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return errors.Join(serveErr, cluster.Shutdown(ctx))
	}
	_ = run
}

// Who saves a page sees it saved, whichever instance and replica answers next: the write leaves a token in a cookie, and
// reads carry it in their context.
func ExampleCluster_Token() {
	const cookie = "db_token"
	save := func(cluster *replica.Cluster, w http.ResponseWriter, r *http.Request) {
		_, err := cluster.Primary().Exec(r.Context(), `update pages set title = $2 where id = $1`, r.FormValue("id"), r.FormValue("title"))
		if err != nil {
			http.Error(w, "not saved", http.StatusInternalServerError)
			return
		}
		if token, err := cluster.Token(r.Context()); err == nil { // after the commit
			http.SetCookie(w, &http.Cookie{Name: cookie, Value: token.String(), MaxAge: 60, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
	middleware := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, err := r.Cookie(cookie); err == nil {
				if token, err := replica.ParseToken(c.Value); err == nil { // a malformed one is as good as none
					r = r.WithContext(replica.WithToken(r.Context(), token))
				}
			}
			next.ServeHTTP(w, r)
		})
	}
	show := func(ctx context.Context, cluster *replica.Cluster, id string) (title string, err error) {
		err = cluster.Reader(ctx).QueryRow(ctx, `select title from pages where id = $1`, id).Scan(&title)
		return title, err
	}
	_, _, _ = save, middleware, show
}

// With package pgtx the token is captured by a hook, which runs after the commit and only then:
//
//	err := pgtx.Run(ctx, cluster.Primary(), func(ctx context.Context, tx pgx.Tx) error {
//		...
//		return pgtx.AfterCommit(ctx, cluster.Primary(), capture(&token))
//	})
//
// The hook's context does not end with the caller's, so it has a limit of its own.
func ExampleCluster_Token_afterCommit() {
	var cluster *replica.Cluster
	capture := func(token *replica.Token) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			*token, err = cluster.Token(ctx)
			return err
		}
	}
	_ = capture
}

// Several statements that must see one state share a transaction on one pool.
func ExampleCluster_Reader() {
	report := func(ctx context.Context, cluster *replica.Cluster, read func(pgx.Tx) error) error {
		options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
		return pgx.BeginTxFunc(ctx, cluster.Reader(ctx), options, read)
	}
	_ = report
}
