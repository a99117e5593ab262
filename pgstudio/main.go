// Command pgstudio shows a database's tables in the browser. It runs [pgweb] on loopback, by
// default as a role that can only read.
//
//	pgstudio [--port N] [--write [--confirm DATABASE]] [--remote] [--lease DURATION]
//
// The database is the one of DATABASE_URL and the other variables of pgconfig. A .env file in the
// current folder is read. pgstudio makes a role that may read everything and change nothing, prints
// an address that cannot be guessed, and ends with Ctrl-C. Then it drops the role. After a kill the
// role's password expires within one lease. pgstudio listens on 127.0.0.1 only.
//
// pgweb runs inside this process. No second process can stay behind, and no argument or variable
// has the password.
//
// The exit status is 0 after Ctrl-C, 1 for a failure, and 2 for a wrong call or a database that was
// refused.
//
// [pgweb]: https://github.com/sosedoff/pgweb
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/page-builder/persistence/pgconfig"
)

func main() {
	environ := pgconfig.Environ()
	for name := range environ {
		if strings.HasPrefix(name, "PG") {
			os.Unsetenv(name) // pgweb's driver would read them too, and fail on those that it does not know
		}
	}
	// SIGHUP: the terminal was closed.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:], environ, os.Stdout)
	stop()
	var refused refusal
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.As(err, &refused):
		fmt.Fprintln(os.Stderr, "pgstudio:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "pgstudio:", err)
		os.Exit(1)
	}
}

// defaultLease limits how long the role's password stays valid after pgstudio was killed. It is
// renewed three times within a lease.
const defaultLease = 10 * time.Minute

const usage = `pgstudio shows a database's tables in the browser, read-only.

  --port N            the port of 127.0.0.1 to listen on (default: a free one)
  --write             log in as the configured user and change data; only on a local database
  --confirm DATABASE  write through a tunnel or to a container, of which only the port is on this machine
  --remote            read a database on another machine, or with APP_ENV=production
  --lease DURATION    how long the role's password outlives a kill (default 10m)
`

func run(ctx context.Context, args []string, environ map[string]string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("pgstudio", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	port := flags.Int("port", 0, "")
	write := flags.Bool("write", false, "")
	confirmed := flags.String("confirm", "", "")
	remote := flags.Bool("remote", false, "")
	lease := flags.Duration("lease", defaultLease, "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(out, usage)
			return err
		}
		return refusal(err.Error() + "; see pgstudio --help")
	}
	if *confirmed != "" && !*write {
		return refusal("--confirm is for --write")
	}
	if flags.NArg() > 0 || *port < 0 || *port > 65535 || *lease < time.Second {
		return refusal("takes no arguments, a port from 0 to 65535 and a lease of at least 1s; see pgstudio --help")
	}
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: environ, DotEnv: []string{".env"}})
	if err != nil {
		return refusal(err.Error())
	}
	db, err := newDatabase(cfg)
	if err != nil {
		return err
	}
	if err := permit(cfg.Environment, db.config, *remote, *write); err != nil {
		return err
	}
	if err := db.reach(ctx); err != nil {
		return err
	}
	if *write {
		if err := permitWrite(db, *confirmed); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return fmt.Errorf("%w (--port chooses another, 0 a free one)", err)
	}
	defer listener.Close()

	login, end, err := logIn(ctx, db, *write, *lease, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	return serve(ctx, listener, login, out)
}

// logIn chooses the user that pgweb logs in as. end drops what was created for it.
func logIn(
	ctx context.Context, db *database, write bool, lease time.Duration, out io.Writer,
) (login, func() error, error) {
	own := login{source: db.source(db.config.User, db.config.Password)}
	nothing := func() error { return nil }
	if write {
		fmt.Fprintf(out, "%s as %s: what you change stays changed\n", db.config.Database, db.config.User)
		return own, nothing, nil
	}
	r, err := newReader(ctx, db, lease, out)
	if err == nil {
		fmt.Fprintf(out, "%s as %s, a role that can only read and is dropped at the end\n", db.config.Database, r.name)
		return login{source: db.source(r.name, r.password)}, r.drop, nil
	}
	if !notAllowed(err) { // a slow server must not weaken the protection that the user relies on
		return login{}, nil, fmt.Errorf("make a role that can only read: %w", err)
	}
	own.readOnly = true
	fmt.Fprintf(out, "%s as %s, in read-only transactions: no role that can only read could be used (%v). "+
		"This keeps from accidents, not from intent.\n", db.config.Database, db.config.User, err)
	return own, nothing, nil
}
