package replica_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgpool/replica"
)

// The life of a service's cluster: DATABASE_URL is the primary, and DATABASE_REPLICA_URLS are the
// replicas.
func ExampleOpen() {
	run := func(ctx context.Context) error {
		cfg, end := configured() // cfg, err := pgconfig.Load()
		defer end()
		cluster, err := replica.Open(ctx, cfg)
		if err != nil {
			return err
		}
		var page string // from a replica, if one is healthy and not too far behind
		serveErr := cluster.Reader(ctx).QueryRow(ctx, `select 'Home'`).Scan(&page)
		fmt.Println(page)

		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return errors.Join(serveErr, cluster.Shutdown(ctx))
	}
	fmt.Println(run(context.Background()))
	// Output:
	// Home
	// <nil>
}

// An author who saves a page sees the change, whichever instance and replica answers next. The
// write puts a token into a cookie, and reads carry it in their context.
func ExampleCluster_Token() {
	cfg, end := configured()
	defer end()
	cluster, err := replica.Open(context.Background(), cfg)
	if err != nil {
		log.Print(err)
		return
	}
	defer cluster.Shutdown(context.Background())

	save := func(w http.ResponseWriter, r *http.Request) {
		if _, err := cluster.Primary().Exec(r.Context(), `create table pages (title text)`); err != nil {
			http.Error(w, "not saved", http.StatusInternalServerError)
			return
		}
		if token, err := cluster.Token(r.Context()); err == nil { // after the commit
			http.SetCookie(w, &http.Cookie{
				Name: "db_token", Value: token.String(), MaxAge: 60, HttpOnly: true, Secure: true,
				SameSite: http.SameSiteLaxMode,
			})
		}
	}
	show := func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if c, err := r.Cookie("db_token"); err == nil {
			if token, err := replica.ParseToken(c.Value); err == nil { // a malformed one is as good as none
				ctx = replica.WithToken(ctx, token)
			}
		}
		var pages int
		err := cluster.Reader(ctx).QueryRow(ctx, `select count(*) from pages`).Scan(&pages)
		fmt.Println(pages, err)
	}

	saved := httptest.NewRecorder()
	save(saved, httptest.NewRequest(http.MethodPost, "/", nil))
	next := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, cookie := range saved.Result().Cookies() {
		next.AddCookie(cookie)
	}
	show(httptest.NewRecorder(), next)
	// Output: 0 <nil>
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
	cfg, end := configured()
	defer end()
	cluster, err := replica.Open(context.Background(), cfg)
	if err != nil {
		log.Print(err)
		return
	}
	defer cluster.Shutdown(context.Background())

	capture := func(token *replica.Token) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			*token, err = cluster.Token(ctx)
			return err
		}
	}
	var token replica.Token
	err = capture(&token)(context.Background())
	fmt.Println(token.IsZero(), err)
	// Output: false <nil>
}

// A request that carries a token and writes itself answers with one that shows both.
func ExampleToken_Later() {
	cfg, end := configured()
	defer end()
	cluster, err := replica.Open(context.Background(), cfg)
	if err != nil {
		log.Print(err)
		return
	}
	defer cluster.Shutdown(context.Background())

	var ctx context.Context // of a request that came with a token
	if came, err := cluster.Token(context.Background()); err == nil {
		ctx = replica.WithToken(context.Background(), came)
	}
	if _, err := cluster.Primary().Exec(ctx, `create table pages (title text)`); err != nil {
		log.Print(err)
		return
	}
	written, err := cluster.Token(ctx)
	fmt.Println(replica.TokenFrom(ctx).Later(written) == written, err)
	// Output: true <nil>
}

// The text from a header or cookie may be anything.
func ExampleParseToken() {
	token, err := replica.ParseToken("") // there was no cookie
	fmt.Println(token.IsZero(), err)
	_, err = replica.ParseToken("DROP TABLE pages")
	fmt.Println(errors.Is(err, replica.ErrMalformedToken), err)
	// Output:
	// true <nil>
	// true parse token: the token is malformed: drop it, or read from the primary
}

// Several statements that must see one state share a transaction on one pool.
func ExampleCluster_Reader() {
	cfg, end := configured()
	defer end()
	cluster, err := replica.Open(context.Background(), cfg)
	if err != nil {
		log.Print(err)
		return
	}
	defer cluster.Shutdown(context.Background())

	ctx := context.Background()
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, cluster.Reader(ctx), options, func(tx pgx.Tx) error {
		var first, second time.Time
		row := tx.QueryRow(ctx, `select now(), transaction_timestamp()`)
		err := row.Scan(&first, &second)
		fmt.Println(first.Equal(second))
		return err
	})
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}

// Replicas has the figures for an operator's page. Here DATABASE_REPLICA_URLS leads to the primary.
func ExampleCluster_Replicas() {
	cfg, end := configured()
	defer end()
	cluster, err := replica.Open(context.Background(), cfg)
	if err != nil {
		log.Print(err)
		return
	}
	defer cluster.Shutdown(context.Background())

	for _, status := range cluster.Replicas() {
		var unused *replica.Error
		switch {
		case status.Err == nil:
			fmt.Println(status.Replica, "is read from, behind by", status.Lag)
		case errors.As(status.Err, &unused): // and errors.Is(unused, replica.ErrNotStandby), once it was asked
			fmt.Println(unused.Replica, "is not read from")
		}
	}
	// Output: 0 is not read from
}
