package pgtx

import (
	"context"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// closedConn returns a connection that is closed, for a caller that must be given one and can check
// no error. pgx makes connections only by connecting, so it connects to a peer in memory that
// greets it as a server does. It returns nil if the environment's PG variables cannot be parsed.
func closedConn() *pgx.Conn {
	config, err := pgx.ParseConfig("host=localhost user=nobody password=none dbname=none sslmode=disable")
	if err != nil {
		return nil
	}
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"localhost"}, nil }
	config.ValidateConnect, config.Fallbacks = nil, nil
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go greet(server)
		return client, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil
	}
	kill(conn)
	return conn
}

// greet answers a start-up message and reads until the peer closes.
func greet(server net.Conn) {
	defer server.Close()
	backend := pgproto3.NewBackend(server, server)
	if _, err := backend.ReceiveStartupMessage(); err != nil {
		return
	}
	backend.Send(&pgproto3.AuthenticationOk{})
	backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if backend.Flush() == nil {
		_, _ = backend.Receive() // a Terminate, or the end
	}
}
