package pgerr

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// judge walks the tree of wrapped errors from the outside in and stops at the first error it
// recognizes. errors.As would pick one of several joined errors by type; their order and weight
// should decide.
func judge(err error, connecting bool) verdict {
	if isNil(err) {
		return unknown
	}
	if v, ok := askError(err, connecting); ok {
		return v
	}
	switch e := err.(type) { //nolint:errorlint // judge unwraps err itself
	case *pgconn.ConnectError:
		return judgeConnect(e)
	case *pgconn.ParseConfigError:
		return verdictFor(Config)
	case *pgconn.PgError:
		return judgePgError(e, connecting)
	}
	if v, ok := judgeLeaf(err, connecting); ok {
		return v
	}

	inner := judgeWrapped(err, connecting)
	if inner.category != Unknown {
		return inner
	}
	if v, ok := judgeText(err, connecting); ok {
		return v
	}
	if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() {
		return verdictFor(Timeout)
	}
	return inner
}

// isNil reports whether err is nil or holds a nil pointer. Calling its methods might panic.
func isNil(err error) bool {
	if err == nil {
		return true
	}
	v := reflect.ValueOf(err)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

func judgeWrapped(err error, connecting bool) verdict {
	switch e := err.(type) { //nolint:errorlint // judge unwraps err itself
	case interface{ Unwrap() error }:
		return judge(e.Unwrap(), connecting)
	case interface{ Unwrap() []error }:
		return judgeJoined(e.Unwrap(), connecting)
	}
	return unknown
}

// askError calls the methods Category and Retryable of err. If one is missing, the wrapped error
// answers for it.
func askError(err error, connecting bool) (verdict, bool) {
	categorized, hasCategory := err.(interface{ Category() Category })
	retryer, hasRetryable := err.(interface{ Retryable() bool })
	var v verdict
	switch {
	case hasCategory && categorized.Category() != "":
		v = verdictFor(categorized.Category())
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			v.retry = no
		}
	case hasRetryable:
		v = judgeWrapped(err, connecting)
	default:
		return verdict{}, false
	}
	if hasRetryable {
		v.retry = answer(retryer.Retryable())
	}
	return v, true
}

// judgeConnect judges a failed attempt to connect. No transaction had begun, so what is worth
// waiting for may also run again.
func judgeConnect(err *pgconn.ConnectError) verdict {
	inner := err.Unwrap()
	if tries, ok := inner.(interface{ Unwrap() []error }); ok && triesBothWays(err.Config) {
		inner = errors.Join(dropRefusedWays(tries.Unwrap())...)
	}
	v := judge(inner, true)
	v.retry = v.wait
	return v
}

// triesBothWays reports whether servers are tried with and without TLS: sslmode=prefer and allow.
func triesBothWays(cfg *pgconn.Config) bool {
	return cfg != nil && slices.ContainsFunc(cfg.Fallbacks, func(f *pgconn.FallbackConfig) bool {
		return (f.TLSConfig == nil) != (cfg.TLSConfig == nil)
	})
}

// dropRefusedWays drops attempts that only failed because they used TLS, or because they did not,
// if there are others. A server without TLS refuses the attempt with it, and a server that insists
// on TLS refuses the attempt without. The other attempt holds the server's real answer.
func dropRefusedWays(errs []error) []error {
	all := len(errs)
	rest := slices.DeleteFunc(slices.Clone(errs), isTLSRefused)
	if len(rest) == all {
		rest = slices.DeleteFunc(rest, isPlainRefused)
	}
	if len(rest) == 0 {
		return errs
	}
	return rest
}

func judgeJoined(errs []error, connecting bool) verdict {
	verdicts := make([]verdict, 0, len(errs))
	for _, err := range errs {
		verdicts = append(verdicts, judge(err, connecting))
	}
	return merge(verdicts, connecting)
}

// judgeLeaf recognizes errors by identity and type.
func judgeLeaf(err error, connecting bool) (verdict, bool) {
	switch {
	case connecting && isSame(err, io.EOF):
		// The peer closed the connection. Elsewhere io.EOF may come from any reader.
		return verdictFor(Connection), true
	case isSame(err, context.Canceled):
		return verdictFor(Canceled), true
	case isSame(err, context.DeadlineExceeded), isSame(err, os.ErrDeadlineExceeded):
		return verdictFor(Timeout), true
	case isSame(err, sql.ErrNoRows): // pgx.ErrNoRows wraps it
		return verdictFor(NotFound), true
	case isSame(err, pgconn.ErrReadOnlyConnection), isSame(err, pgconn.ErrStandbyConnection):
		return verdictFor(ReadOnly), true
	case isSame(err, pgconn.ErrReadWriteConnection), isSame(err, pgconn.ErrPrimaryConnection):
		return verdictFor(WrongServer), true
	case isSame(err, pgconn.ErrConnClosed), isSame(err, net.ErrClosed), isSame(err, io.ErrUnexpectedEOF):
		return verdictFor(Connection), true
	}
	switch e := err.(type) { //nolint:errorlint // judge unwraps err itself
	case *net.DNSError:
		if errors.Is(e, context.Canceled) {
			return verdictFor(Canceled), true
		}
		return verdictFor(DNS), true
	case *net.OpError:
		return judgeOpError(e)
	case syscall.Errno:
		return judgeErrno(e)
	case *tls.CertificateVerificationError, tls.RecordHeaderError, tls.AlertError, *tls.ECHRejectionError,
		x509.UnknownAuthorityError, x509.HostnameError, x509.CertificateInvalidError, x509.SystemRootsError,
		x509.ConstraintViolationError, x509.UnhandledCriticalExtension, x509.InsecureAlgorithmError:
		return verdictFor(TLS), true
	}
	return verdict{}, false
}

// isSame reports whether err itself is target, whatever it wraps.
func isSame(err, target error) bool {
	if err == target { //nolint:errorlint // judge unwraps err itself
		return true
	}
	is, ok := err.(interface{ Is(error) bool })
	return ok && is.Is(target)
}

func judgeOpError(err *net.OpError) (verdict, bool) {
	switch err.Op {
	case "dial":
		// Here these are about the server's socket file, this machine's firewall, or the
		// descriptors of this process. In other operations they are about some other file.
		var errno syscall.Errno
		errors.As(err.Err, &errno)
		switch errno {
		case syscall.ENOENT:
			return verdictFor(Refused), true
		case syscall.EACCES, syscall.EPERM:
			return verdictFor(Permission), true
		case syscall.EMFILE, syscall.ENFILE:
			return verdict{category: Resource, retry: no, wait: yes}, true
		}
	case "remote error", "local error": // how crypto/tls reports alerts, whose type is not exported
		return verdictFor(TLS), true
	case "read", "write":
		// On an established connection these say that TCP gave up on a peer that vanished:
		// ETIMEDOUT, or what the network last reported, such as EHOSTUNREACH. A deadline of the
		// caller is os.ErrDeadlineExceeded.
		var errno syscall.Errno
		errors.As(err.Err, &errno)
		if v, _ := judgeErrno(errno); v.category == Timeout || v.category == Refused {
			return verdictFor(Connection), true
		}
	}
	return verdict{}, false
}

func judgeErrno(err syscall.Errno) (verdict, bool) {
	switch err {
	case syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN,
		syscall.EADDRNOTAVAIL:
		return verdictFor(Refused), true
	case syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ENOTCONN,
		syscall.ENETRESET:
		return verdictFor(Connection), true
	case syscall.ETIMEDOUT:
		return verdictFor(Timeout), true
	}
	return verdict{}, false
}

const tlsRefused = "server refused TLS connection"

// judgeText recognizes errors that have neither a type nor a value of their own. It runs last, when
// nothing inside the error was recognized.
func judgeText(err error, connecting bool) (verdict, bool) {
	text := err.Error()
	if text == "closed pool" { // puddle.ErrClosedPool; its module is not worth a dependency
		return verdictFor(Canceled), true
	}
	if !connecting {
		return verdict{}, false
	}
	// crypto/tls and crypto/x509 begin the text of each error with their name. pgconn begins it
	// with the step that failed.
	step, _, _ := strings.Cut(text, ": ")
	switch step {
	case "tls error", "tls", "x509":
		return verdictFor(TLS), true
	case "failed SASL auth", "failed GSS auth", "require_auth check failed", "channel binding check failed",
		"sslcertmode check failed":
		return verdictFor(Auth), true
	}
	return verdict{}, false
}

func isTLSRefused(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if err.Error() == tlsRefused {
			return true
		}
	}
	return false
}

// isPlainRefused reports whether pg_hba.conf takes no login without TLS. PostgreSQL 13 and older
// say "SSL off".
func isPlainRefused(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "28000" &&
		(strings.HasSuffix(e.Message, "no encryption") || strings.HasSuffix(e.Message, "SSL off"))
}
