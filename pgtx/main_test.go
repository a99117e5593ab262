package pgtx_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bundle is a database of the test's own with a table of accounts, id 1 and 2 holding 100 each.
type bundle struct {
	t    *testing.T
	url  string
	pool *pgxpool.Pool
}

// pooled says that PGTX_URL leads through a pooler in transaction mode: the login named another
// backend than the one that answers.
var pooled = func() bool {
	base := os.Getenv("PGTX_URL")
	if base == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, base)
	if err != nil {
		return false // the tests say so
	}
	defer conn.Close(ctx)
	var pid uint32
	err = conn.QueryRow(ctx, `select pg_backend_pid()`, pgx.QueryExecModeSimpleProtocol).Scan(&pid)
	return err == nil && pid != conn.PgConn().PID()
}()

// needsSession skips a test about a session that belongs to one client: its process, its role, its
// settings, what it prepared.
func needsSession(t *testing.T) {
	t.Helper()
	if pooled {
		t.Skip("a pooler gives each transaction any session")
	}
}

// needsLocalTables skips a test whose schema a coordinator refuses for distributed tables: it has
// triggers, or joins them with local tables.
func needsLocalTables(t *testing.T) {
	t.Helper()
	if os.Getenv("PG_DISTRIBUTED") == "1" {
		t.Skip("PG_DISTRIBUTED: distributed tables have no triggers and no joins with local tables")
	}
}

func setup(t *testing.T) *bundle {
	t.Helper()
	return setupOn(t, database(t))
}

// database makes a database of the test's own: on the server that PGTX_URL names, which may be a
// pooler or a coordinator, or else on pgserver's.
func database(t *testing.T) string {
	t.Helper()
	base := os.Getenv("PGTX_URL")
	if base == "" {
		return pgserver.Database(t)
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal("PGTX_URL cannot be parsed")
	}
	name := fmt.Sprintf("pgtx_%d", rand.Uint64())
	admin := func(sql string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		conn, err := pgx.Connect(ctx, base)
		if err != nil {
			t.Fatal("cannot connect to PGTX_URL")
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Error(err)
		}
	}
	admin("create database " + name)
	t.Cleanup(func() { admin("drop database " + name + " with (force)") })
	u.Path = "/" + name
	return u.String()
}

func setupOn(t *testing.T, url string) *bundle {
	t.Helper()
	b := &bundle{t: t, url: url}
	b.pool = connect(t, b.url)
	_, err := b.pool.Exec(t.Context(), `
		create table accounts (id int primary key, balance int not null);
		insert into accounts values (1, 100), (2, 100)`)
	if err != nil {
		t.Fatalf("create the accounts: %v", err)
	}
	if os.Getenv("PG_DISTRIBUTED") == "1" {
		b.distribute(t)
	}
	// Registered last, so it runs first: every test leaves the pool with nothing acquired.
	t.Cleanup(func() { b.released(t) })
	return b
}

// distribute makes the accounts a distributed table of Citus, on shards of the server itself.
func (b *bundle) distribute(t *testing.T) {
	t.Helper()
	var there bool
	err := b.pool.QueryRow(t.Context(),
		`select exists (select from pg_available_extensions where name = 'citus')`).Scan(&there)
	if err != nil {
		t.Fatal(err)
	}
	if !there {
		t.Skip("PG_DISTRIBUTED: the server does not have the extension citus")
	}
	b.exec(t, `create extension citus`)
	b.exec(t, `select create_distributed_table('accounts', 'id')`)
}

// released fails the test if a connection stays acquired. A closed one counts as acquired until pgx
// has cleaned up behind it, which the pool does in the background: hence the polling.
func (b *bundle) released(t *testing.T) {
	t.Helper()
	for limit := time.Now().Add(5 * time.Second); b.pool.Stat().AcquiredConns() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Errorf("connections still acquired: %d", b.pool.Stat().AcquiredConns())
			return
		}
	}
}

func connect(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatalf("open the pool: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// cutCommit returns a pool that connects through a proxy, in the given mode if there is one. The
// proxy cuts the first COMMIT.
func cutCommit(t *testing.T, url string, where fault.Cut, mode ...pgx.QueryExecMode) (*fault.Proxy, *pgxpool.Pool) {
	t.Helper()
	proxy := fault.NewProxy(t, url, fault.Options{})
	proxy.CutCommits(1, where)
	config, err := pgxpool.ParseConfig(proxy.URL())
	if err != nil {
		t.Fatal("cannot parse the proxy's URL")
	}
	for _, m := range mode {
		config.ConnConfig.DefaultQueryExecMode = m
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return proxy, pool
}

// eventually waits until the query returns true.
func (b *bundle) eventually(t *testing.T, query string) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		var ok bool
		if err := b.pool.QueryRow(t.Context(), query).Scan(&ok); err != nil {
			t.Fatal(err)
		}
		if ok {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("never became true: %s", query)
		}
	}
}

// balance reads an account from outside any transaction under test.
func (b *bundle) balance(t *testing.T, id int) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer cancel()
	var balance int
	if err := b.pool.QueryRow(ctx, `select balance from accounts where id = $1`, id).Scan(&balance); err != nil {
		t.Fatalf("read balance of %d: %v", id, err)
	}
	return balance
}

func add(ctx context.Context, tx pgx.Tx, id, amount int) error {
	_, err := tx.Exec(ctx, `update accounts set balance = balance + $2 where id = $1`, id, amount)
	return err
}

// dedicated is a connection outside any pool.
func dedicated(t *testing.T, b *bundle) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), b.url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (b *bundle) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := b.pool.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}
