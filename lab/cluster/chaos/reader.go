package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool/replica"
	"github.com/page-builder/persistence/pgtx"
)

const (
	readers     = 2
	authors     = 2
	readLimit   = 2 * time.Second // of one read, as of a request
	readPause   = 10 * time.Millisecond
	authorPause = 50 * time.Millisecond
	oldTokens   = 200 // an author keeps that many, and reads again with one of them
)

// reading runs readers that take any replica, and authors that write and then read their own
// writes.
type reading struct {
	cluster *replica.Cluster
	table   string // writer, n

	reads moments
	errs  tally

	mu         sync.Mutex
	onPrimary  int
	checks     int // reads with a token
	failed     int // of them
	violations int
	first      string // violation
}

// create makes a row for each author.
func (r *reading) create(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, fmt.Sprintf(`create table %s (writer int primary key, n bigint not null)`, r.table))
	if err == nil {
		_, err = conn.Exec(ctx, fmt.Sprintf(`insert into %s select n, 0 from generate_series(0, $1) n`, r.table),
			authors-1)
	}
	return err
}

func (r *reading) run(stop context.Context) {
	var all sync.WaitGroup
	for range readers {
		all.Go(func() { r.read(stop) })
	}
	for author := range authors {
		all.Go(func() { r.write(stop, author) })
	}
	all.Wait()
}

// read reads from the pools that Reader returns.
func (r *reading) read(stop context.Context) {
	for stop.Err() == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(stop), readLimit)
		pool := r.cluster.Reader(ctx)
		_, err := r.look(ctx, pool, 0)
		cancel()
		r.errs.add(err)
		if err == nil {
			r.reads.add(time.Now())
		}
		if pool == r.cluster.Primary() {
			r.mu.Lock()
			r.onPrimary++
			r.mu.Unlock()
		}
		sleep(stop, rand.N(2*readPause))
	}
}

func (r *reading) look(ctx context.Context, pool *pgxpool.Pool, author int) (n int64, err error) {
	err = pool.QueryRow(ctx, `select n from `+r.table+` where writer = $1`, author).Scan(&n)
	return n, err
}

// seen is a write and the token that was captured after it.
type seen struct {
	n     int64
	token replica.Token
}

// write commits, captures a token, and reads with that token and with an older one.
func (r *reading) write(stop context.Context, author int) {
	var kept []seen
	for n := int64(1); stop.Err() == nil; n++ {
		ctx := context.WithoutCancel(stop)
		err := pgtx.RunWith(ctx, r.cluster.Primary(), options(), func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `update `+r.table+` set n = greatest(n, $2) where writer = $1`, author, n)
			return err
		})
		if err == nil {
			kept = r.check(ctx, author, n, kept)
		}
		sleep(stop, rand.N(2*authorPause))
	}
}

func (r *reading) check(ctx context.Context, author int, n int64, kept []seen) []seen {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	token, err := r.cluster.Token(ctx)
	if err != nil {
		return kept // as a service that sends no cookie then
	}
	if len(kept) == oldTokens {
		kept = kept[1:]
	}
	kept = append(kept, seen{n, token})
	for _, s := range []seen{kept[len(kept)-1], kept[rand.IntN(len(kept))]} {
		text, _ := s.token.MarshalText() // it travels as text
		back, err := replica.ParseToken(string(text))
		if err != nil {
			r.count(err, false, "")
			continue
		}
		pool := r.cluster.ReaderAfter(ctx, back)
		got, err := r.look(ctx, pool, author)
		where := "a replica"
		if pool == r.cluster.Primary() {
			where = "the primary's pool"
		}
		r.count(err, err == nil && got < s.n, fmt.Sprintf("%s showed %d after the commit of %d", where, got, s.n))
	}
	return kept
}

func (r *reading) count(err error, violation bool, text string) {
	r.errs.add(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.checks++; {
	case err != nil:
		r.failed++
	case violation:
		if r.violations++; r.violations == 1 {
			r.first = text
		}
	}
}
