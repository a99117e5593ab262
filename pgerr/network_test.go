package pgerr_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgerr"
)

// TestAddress connects to listeners that are not PostgreSQL.
func TestAddress(t *testing.T) {
	t.Parallel()
	const wait = true
	for _, test := range []struct {
		name     string
		url      string
		category pgerr.Category
		wait     bool
	}{
		{"refused", "postgres://u@" + closedAddress + "/d?sslmode=disable", pgerr.Refused, wait},
		{"no socket file", "postgres://u@/d?host=" + t.TempDir(), pgerr.Refused, wait},
		{"no such name", "postgres://u@pgerr.invalid/d", pgerr.DNS, wait},
		{
			"black hole", "postgres://u@" + serveConns(t, hold) + "/d?sslmode=disable&connect_timeout=1", pgerr.Timeout,
			wait,
		},
		{
			"black hole in TLS", "postgres://u@" + serveConns(t, hold) + "/d?sslmode=require&connect_timeout=1",
			pgerr.Timeout, wait,
		},
		{"end of file", "postgres://u@" + serveConns(t, drop) + "/d?sslmode=disable", pgerr.Connection, wait},
		{"end of file in TLS", "postgres://u@" + serveConns(t, drop) + "/d?sslmode=require", pgerr.Connection, wait},
		{
			"end of file in the TLS handshake", "postgres://u@" + serveConns(t, acceptTLSThen(drop)) +
				"/d?sslmode=require",
			pgerr.Connection, wait,
		},
		{
			"reset in the TLS handshake", "postgres://u@" + serveConns(t, acceptTLSThen(reset)) + "/d?sslmode=require",
			pgerr.Connection, wait,
		},
		{
			"black hole in the TLS handshake", "postgres://u@" + serveConns(t, acceptTLSThen(hold)) +
				"/d?sslmode=require&connect_timeout=1",
			pgerr.Timeout, wait,
		},
		{
			"end of file in direct TLS", "postgres://u@" + serveConns(t, drop) +
				"/d?sslmode=require&sslnegotiation=direct",
			pgerr.Connection, wait,
		},
		{
			"end of file in the TLS handshake, second starting",
			"postgres://u@" + serveConns(t, acceptTLSThen(drop)) + "," + serveConns(t, refuseTLSThen(fail("57P03"))) +
				"/d?sslmode=prefer",
			pgerr.StartingUp, wait,
		},
		{
			"old version of TLS", "postgres://u@" + serveConns(t, acceptTLSThen(answer(helloTLS10))) +
				"/d?sslmode=require",
			pgerr.TLS, !wait,
		},
		{
			"no TLS after all", "postgres://u@" + serveConns(t,
				acceptTLSThen(answer("HTTP/1.1 400 Bad Request\r\n\r\n"))) + "/d?sslmode=require",
			pgerr.TLS, !wait,
		},
		{"reset", "postgres://u@" + serveConns(t, reset) + "/d?sslmode=disable", pgerr.Connection, wait},
		{"no TLS", "postgres://u@" + serveConns(t, answer("N")) + "/d?sslmode=require", pgerr.TLS, !wait},
		{"starting up", "postgres://u@" + serveConns(t, fail("57P03")) + "/d?sslmode=disable", pgerr.StartingUp, wait},
		{
			"no TLS, starting up", "postgres://u@" + serveConns(t, refuseTLSThen(fail("57P03"))) + "/d?sslmode=prefer",
			pgerr.StartingUp, wait,
		},
		{
			"no slot", "postgres://u@" + serveConns(t, fail("53300")) + "/d?sslmode=disable", pgerr.TooManyConnections,
			wait,
		},
		{"wrong password", "postgres://u@" + serveConns(t, fail("28P01")) + "/d?sslmode=disable", pgerr.Auth, !wait},
		{
			"first refused, second starting", "postgres://u@" + closedAddress + "," + serveConns(t, fail("57P03")) +
				"/d?sslmode=disable",
			pgerr.StartingUp, wait,
		},
		{
			"first without name, second wrong password", "postgres://u@pgerr.invalid:1," + serveConns(t, fail("28P01")) +
				"/d?sslmode=disable",
			pgerr.Auth, !wait,
		},
		{
			"unknown authority", "postgres://u@" + serveConns(t, serveTLS(t, "127.0.0.1", time.Now().Add(time.Hour))) +
				"/d?sslmode=verify-full",
			pgerr.TLS, !wait,
		},
		{
			"unknown authority, name not asked", "postgres://u@" + serveConns(t,
				serveTLS(t, "127.0.0.1", time.Now().Add(time.Hour))) + "/d?sslmode=verify-ca",
			pgerr.TLS, !wait,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := pgx.Connect(t.Context(), test.url)
			if err == nil {
				t.Fatal("connected")
			}
			check(t, err, test.category, test.wait, test.wait)
		})
	}
}

// TestTwoAttempts: a server takes logins with TLS only. The attempt with TLS decides.
func TestTwoAttempts(t *testing.T) {
	t.Parallel()
	cert, _ := certificate(t, "127.0.0.1", time.Now().Add(time.Hour))
	const entry = `no pg_hba.conf entry for host "::1", user "u", database "d", `
	full := func(conn net.Conn) { serveInTLS(conn, cert, fail("53300")) }
	for _, test := range []struct {
		name     string
		url      string
		category pgerr.Category
		wait     bool
	}{
		{"full", serveConns(t, splitByTLS(full, fail("28000", entry+"no encryption"))), pgerr.TooManyConnections, true},
		{"full, version 13", serveConns(t, splitByTLS(full, fail("28000", entry+"SSL off"))), pgerr.TooManyConnections, true},
		{"reset", serveConns(t, splitByTLS(reset, fail("28000", entry+"no encryption"))), pgerr.Connection, true},
		{
			"no TLS there", serveConns(t, refuseTLSThen(fail("28000", entry+"no encryption"))), pgerr.Auth, false,
		},
		{
			"another server", serveConns(t, splitByTLS(full, fail("53300"))) + "," +
				serveConns(t, refuseTLSThen(fail("28000", entry+"no encryption"))), pgerr.Auth, false,
		},
		{"another cause", serveConns(t, splitByTLS(full, fail("28000", "no such role"))), pgerr.Auth, false},
	} {
		for _, mode := range []string{"prefer", "allow"} {
			t.Run(test.name+" "+mode, func(t *testing.T) {
				t.Parallel()
				_, err := pgx.Connect(t.Context(), "postgres://u@"+test.url+"/d?sslmode="+mode)
				check(t, err, test.category, test.wait, test.wait)
			})
		}
	}
}

// TestOneWay: pgx tries servers only without TLS, or only with it. Each refusal counts.
func TestOneWay(t *testing.T) {
	t.Parallel()
	plain := serveConns(t, fail("28000", `no pg_hba.conf entry for host "::1", user "u", database "d", no encryption`))
	_, err := pgx.Connect(t.Context(), "postgres://u@"+plain+","+serveConns(t, fail("57P03"))+"/d?sslmode=disable")
	check(t, err, pgerr.Auth, false, false)
	_, err = pgx.Connect(t.Context(), "postgres://u@"+serveConns(t, refuseTLSThen(fail("57P03")))+","+closedAddress+
		"/d?sslmode=require")
	check(t, err, pgerr.TLS, false, false)
}

// TestCertificate trusts the authority, so that what is left to refuse is the name and the date.
func TestCertificate(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(*testing.T) (string, *x509.CertPool){
		"another host": func(t *testing.T) (string, *x509.CertPool) {
			cert, pool := certificate(t, "10.9.8.7", time.Now().Add(time.Hour))
			return serveConns(t, withTLS(cert)), pool
		},
		"expired": func(t *testing.T) (string, *x509.CertPool) {
			cert, pool := certificate(t, "127.0.0.1", time.Now().Add(-time.Hour))
			return serveConns(t, withTLS(cert)), pool
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, pool := address(t)
			config, err := pgconn.ParseConfig("postgres://u@" + addr + "/d?sslmode=verify-full")
			if err != nil {
				t.Fatal(err)
			}
			config.TLSConfig.RootCAs = pool
			_, err = pgconn.ConnectConfig(t.Context(), config)
			check(t, err, pgerr.TLS, false, false)
		})
	}
}

// TestAlert: the server wants a client certificate. TLS 1.3 says so only after the handshake.
func TestAlert(t *testing.T) {
	t.Parallel()
	cert, _ := certificate(t, "127.0.0.1", time.Now().Add(time.Hour))
	addr := serveConns(t, withTLS(cert, tls.RequireAnyClientCert))
	_, err := pgx.Connect(t.Context(), "postgres://u@"+addr+"/d?sslmode=require")
	check(t, err, pgerr.TLS, false, false)
}

func TestCanceledLookup(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := pgx.Connect(ctx, "postgres://u@pgerr.invalid/d")
	check(t, err, pgerr.Canceled, false, false)
}

// TestVanishedPeer: TCP's own timeout on an established connection. Provoking it takes a network
// that drops packets, so the test builds the error as package net does.
func TestVanishedPeer(t *testing.T) {
	t.Parallel()
	timedOut := os.NewSyscallError("read", syscall.ETIMEDOUT)
	check(t, &net.OpError{Op: "read", Net: "tcp", Err: timedOut}, pgerr.Connection, true, true)
	check(t, &net.OpError{Op: "dial", Net: "tcp", Err: timedOut}, pgerr.Timeout, false, true)
	// Linux reports the last ICMP error that it received.
	for _, errno := range []syscall.Errno{
		syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ECONNREFUSED, syscall.EHOSTDOWN, syscall.ENETDOWN,
		syscall.ENETRESET, syscall.ECONNRESET,
	} {
		for _, op := range []string{"read", "write"} {
			check(t, &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, errno)}, pgerr.Connection, true, true)
		}
	}
	unreachable := os.NewSyscallError("connect", syscall.EHOSTUNREACH)
	check(t, &net.OpError{Op: "dial", Net: "tcp", Err: unreachable}, pgerr.Refused, false, true)
	check(t, &net.OpError{Op: "read", Net: "tcp", Err: syscall.EINVAL}, pgerr.Unknown, false, false)
}

// TestOwnMachine: an attempt can fail on this machine.
func TestOwnMachine(t *testing.T) {
	t.Parallel()
	for errno, want := range map[syscall.Errno]struct {
		category pgerr.Category
		wait     bool
	}{
		syscall.EMFILE:        {pgerr.Resource, true},
		syscall.ENFILE:        {pgerr.Resource, true},
		syscall.EADDRNOTAVAIL: {pgerr.Refused, true},     // no local port, or no IPv6
		syscall.EPERM:         {pgerr.Permission, false}, // a firewall
		syscall.EACCES:        {pgerr.Permission, false},
		syscall.ENOENT:        {pgerr.Refused, true},
	} {
		err := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
		check(t, err, want.category, false, want.wait)
		config, parseErr := pgx.ParseConfig("postgres://u@127.0.0.1/d?sslmode=disable")
		if parseErr != nil {
			t.Fatal(parseErr)
		}
		config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return nil, err }
		_, connectErr := pgx.ConnectConfig(t.Context(), config)
		check(t, connectErr, want.category, want.wait, want.wait)
	}
	// In other operations these are about another file.
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.EPERM, syscall.ENOENT} {
		check(t, &net.OpError{Op: "read", Net: "tcp", Err: errno}, pgerr.Unknown, false, false)
	}
}

// TestNilPointer: a nil pointer in an error has no category. Its methods are not called.
func TestNilPointer(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		(*pgconn.PgError)(nil), (*pgconn.ConnectError)(nil), (*pgconn.ParseConfigError)(nil), (*net.OpError)(nil),
		(*net.DNSError)(nil),
	} {
		check(t, err, pgerr.Unknown, false, false)
		check(t, errors.Join(err, io.ErrUnexpectedEOF), pgerr.Connection, true, true)
		if _, ok := pgerr.ViolationOf(err, nil); ok {
			t.Errorf("%T is a violation", err)
		}
	}
	if _, ok := pgerr.ViolationOf(errors.Join((*pgconn.PgError)(nil)), nil); ok {
		t.Error("a nil pointer is a violation")
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	_, err := pgconn.ParseConfig("postgres://u@h:port/d")
	check(t, err, pgerr.Config, false, false)
}

// TestConnectLimit: the limit on one attempt is not the caller's context.
func TestConnectLimit(t *testing.T) {
	t.Parallel()
	addr := serveConns(t, hold)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := pgx.Connect(ctx, "postgres://u@"+addr+"/d?sslmode=disable")
	check(t, err, pgerr.Timeout, true, true)
}

// closedAddress is a port of root's, outside the range that the system gives to listeners: nobody
// listens there while the test runs.
const closedAddress = "127.0.0.1:1"

// serveConns serves each connection with serve until the end of the test.
func serveConns(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // no server outlives its test for long
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// hold reads and never answers.
func hold(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// drop reads the first message and closes.
func drop(conn net.Conn) { _, _ = conn.Read(make([]byte, 1024)) }

// reset closes so that the peer gets a reset.
func reset(conn net.Conn) {
	_, _ = conn.Read(make([]byte, 1024))
	_ = conn.(*net.TCPConn).SetLinger(0)
}

func answer(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1024))
		_, _ = conn.Write([]byte(text))
		hold(conn)
	}
}

// fail answers the startup message with an ErrorResponse.
func fail(code string, message ...string) func(net.Conn) {
	fields := "SFATAL\x00VFATAL\x00C" + code + "\x00Mtest" + strings.Join(message, "") + "\x00\x00"
	return answer(fmt.Sprintf("E\x00\x00\x00%c%s", len(fields)+4, fields))
}

// splitByTLS accepts TLS. It serves the handshake with "with", and connections without TLS with
// "without".
func splitByTLS(with, without func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		first := make([]byte, 8)
		if _, err := io.ReadFull(conn, first); err != nil {
			return
		}
		if first[3] == 8 {
			_, _ = conn.Write([]byte("S"))
			with(conn)
			return
		}
		without(conn)
	}
}

func serveInTLS(conn net.Conn, cert tls.Certificate, next func(net.Conn)) {
	next(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}}))
}

// refuseTLSThen refuses TLS and serves the connection without it with next.
func refuseTLSThen(next func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		// An SSLRequest is 8 bytes, a startup message longer.
		first := make([]byte, 8)
		if _, err := io.ReadFull(conn, first); err != nil {
			return
		}
		if first[3] == 8 {
			_, _ = conn.Write([]byte("N"))
			return
		}
		next(conn)
	}
}

// acceptTLSThen accepts TLS and serves the handshake with next.
func acceptTLSThen(next func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, 8))
		_, _ = conn.Write([]byte("S"))
		next(conn)
	}
}

// helloTLS10 is a ServerHello of TLS 1.0, which crypto/tls refuses without a type of its own.
var helloTLS10 = "\x16\x03\x01\x00\x2a" + "\x02\x00\x00\x26" + "\x03\x01" + strings.Repeat("r", 32) + "\x00" +
	"\xc0\x13" + "\x00"

func serveTLS(t *testing.T, ip string, until time.Time) func(net.Conn) {
	cert, _ := certificate(t, ip, until)
	return withTLS(cert)
}

func withTLS(cert tls.Certificate, client ...tls.ClientAuthType) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, 8))
		_, _ = conn.Write([]byte("S"))
		config := &tls.Config{Certificates: []tls.Certificate{cert}}
		for _, c := range client {
			config.ClientAuth = c
		}
		if tls.Server(conn, config).Handshake() != nil {
			hold(conn) // a close with unread data would be a reset, and overtake the alert
		}
	}
}

// certificate makes a certificate that is its own authority.
func certificate(t *testing.T, ip string, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.ParseIP(ip)},
		NotBefore: until.Add(-24 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
