package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// delayed returns a pool to the server of url behind a proxy that holds everything for half of
// roundTrip each way. 0 connects directly.
func delayed(ctx context.Context, url string, roundTrip time.Duration) (*pgxpool.Pool, func(), error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, nil, errors.New("the throw-away server's URL cannot be parsed")
	}
	if roundTrip == 0 {
		pool, err := pgxpool.NewWithConfig(ctx, config)
		if err != nil {
			return nil, nil, err
		}
		return pool, pool.Close, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	network, address := pgconn.NetworkAddress(config.ConnConfig.Host, config.ConnConfig.Port)
	config.ConnConfig.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				server, err := net.Dial(network, address)
				if err != nil {
					client.Close()
					return
				}
				conns.Go(func() { hold(server, client, roundTrip/2) })
				hold(client, server, roundTrip/2)
			})
		}
	})
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		listener.Close()
		return nil, nil, err
	}
	return pool, func() {
		pool.Close()
		listener.Close()
		conns.Wait()
	}, nil
}

type chunk struct {
	data []byte
	due  time.Time
}

// hold hands on what it reads, each piece after the same time, without holding up the reading of
// the next.
func hold(from io.ReadCloser, to io.WriteCloser, delay time.Duration) {
	chunks := make(chan chunk, 1024)
	var writer sync.WaitGroup
	writer.Go(func() {
		defer to.Close()
		for c := range chunks {
			time.Sleep(time.Until(c.due))
			if _, err := to.Write(c.data); err != nil {
				from.Close()
			}
		}
	})
	for {
		buf := make([]byte, 16<<10)
		n, err := from.Read(buf)
		if err != nil {
			break
		}
		chunks <- chunk{buf[:n], time.Now().Add(delay)}
	}
	close(chunks)
	writer.Wait()
}
