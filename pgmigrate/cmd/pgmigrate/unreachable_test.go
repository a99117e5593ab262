package main

import (
	"io"
	"net"

	"github.com/rogpeppe/go-internal/testscript"
)

// without-tls VARIABLE: listens on the address that goes into the variable, and says to everybody
// that it knows no TLS, as a server with ssl=off does.
func withoutTLS(ts *testscript.TestScript, neg bool, args []string) {
	listen(ts, neg, args, func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, 8)) // SSLRequest
		_, _ = conn.Write([]byte("N"))
	})
}

// silent VARIABLE: listens on the address that goes into the variable, and never answers.
func silent(ts *testscript.TestScript, neg bool, args []string) {
	listen(ts, neg, args, func(net.Conn) {})
}

func listen(ts *testscript.TestScript, neg bool, args []string, answer func(net.Conn)) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: COMMAND VARIABLE")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], listener.Addr().String())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close() // at the end of the script
			answer(conn)
		}
	}()
	ts.Defer(func() {
		listener.Close()
		<-ended
	})
}
