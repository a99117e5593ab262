package pgtest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// warm is a connection to a clone that was made before a test asks: starting a session and reading
// the catalog for the first time take longer than all else that [New] does. Nothing happened on it
// that a test could see. It is offered to the test's first connection, which gets it if it asks for
// just this session, by its address, user, database and parameters.
type warm struct {
	conn    net.Conn
	network string
	address string
	asked   []byte // the start-up message
	answer  []byte // of the server's to that
	used    sync.Once
}

// warm connects. It returns nil if that cannot be repeated without the server: a password was asked
// for, or TLS.
func (h *host) warm(url string) *warm {
	ctx, cancel := context.WithTimeout(context.Background(), adminLimit)
	defer cancel()
	cfg, err := pgx.ParseConfig(url)
	if err != nil || cfg.TLSConfig != nil {
		return nil
	}
	var r *recorded
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		r = &recorded{Conn: conn, network: network, address: address}
		return r, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil
	}
	w := &warm{
		conn: r.Conn, network: r.network, address: r.address, asked: bytes.Clone(r.asked),
		answer: bytes.Clone(r.answer),
	}
	if r.messages != 1 || !readCatalog(ctx, conn) {
		conn.Close(ctx)
		return nil
	}
	if _, err := conn.PgConn().Hijack(); err != nil {
		conn.Close(ctx)
		return nil
	}
	return w
}

// warmTables is how many tables are looked at; a test uses few.
const warmTables = 50

// readCatalog makes the server's process read the catalog: of the tables, which needs no row of
// theirs. It reports whether the connection is as good as new.
func readCatalog(ctx context.Context, conn *pgx.Conn) bool {
	pg := conn.PgConn()
	tables := pg.ExecParams(ctx, `select format('select from only %I.%I limit 0', nspname, relname) from pg_class c
		join pg_namespace n on n.oid = relnamespace where c.oid >= 16384 and relkind = 'r' and nspname !~ '^pg_'
			limit $1`,
		[][]byte{[]byte(strconv.Itoa(warmTables))}, nil, nil, nil).Read()
	if tables.Err != nil {
		return false
	}
	statements := make([]string, len(tables.Rows))
	for i, row := range tables.Rows {
		statements[i] = string(row[0])
	}
	if len(statements) > 0 {
		// A table that the role may not read ends it. What is not read now is read later.
		_, _ = pg.Exec(ctx, strings.Join(statements, ";")).ReadAll()
	}
	return !conn.IsClosed() && pg.TxStatus() == 'I' && pg.SyncConn(ctx) == nil
}

// offer makes the first connection with cfg take it.
func (w *warm) offer(cfg *pgx.ConnConfig) {
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		if network == w.network && address == w.address {
			w.used.Do(func() {
				conn = &resumed{warm: w, ctx: ctx, dial: dial, conn: w.conn, decided: make(chan struct{})}
			})
		}
		if conn != nil {
			return conn, nil
		}
		return dial(ctx, network, address)
	}
}

// close ends the connection, unless somebody took the offer.
func (w *warm) close() { w.used.Do(func() { w.conn.Close() }) }

// alive reports whether neither side has closed the connection. It asks the kernel, not the server.
func (w *warm) alive() bool {
	conn, ok := w.conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var got error
	err = raw.Read(func(fd uintptr) bool {
		_, _, got = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	return err == nil && errors.Is(got, syscall.EAGAIN) // anything to read would be a farewell
}
