package pgserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/flock"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/tree"
)

func (s *devServer) data() string { return filepath.Join(s.dir, "data") }

// listening reads from postmaster.pid where the running server listens.
func (s *devServer) listening() (port string, tcp bool, _ error) {
	b, err := tree.ReadFile(s.dir, "data/postmaster.pid")
	if errors.Is(err, os.ErrNotExist) {
		return "", false, ErrNotRunning
	}
	if err != nil {
		return "", false, err
	}
	// Lines: pid, data directory, start time, port, socket directory, listen address, shared
	// memory, status.
	lines := strings.Split(string(b), "\n")
	if len(lines) < 6 { // it is still being written
		return "", false, ErrNotRunning
	}
	c, err := net.Dial("unix", filepath.Join(s.dir, ".s.PGSQL."+lines[3]))
	if err != nil { // the file outlives a crash
		return "", false, ErrNotRunning
	}
	return lines[3], strings.TrimSpace(lines[5]) != "", c.Close()
}

func (s *devServer) url() (*url.URL, error) {
	port, tcp, err := s.listening()
	if errors.Is(err, ErrNotRunning) {
		return nil, fmt.Errorf("%w: %s", err, s.dir)
	}
	if err != nil {
		return nil, err
	}
	if !tcp {
		return socketURL(s.dir, port, s.Database), nil
	}
	password, err := s.password()
	if err != nil {
		return nil, err
	}
	return &url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", password), Host: "127.0.0.1:" + port,
		Path: "/" + s.Database, RawQuery: "sslmode=disable", // loopback, and the server has no certificate
	}, nil
}

// password returns the superuser's password for TCP, made once: 26 letters and digits with 128 bits
// of randomness.
func (s *devServer) password() (string, error) {
	b, err := tree.ReadFile(s.dir, "password")
	if errors.Is(err, os.ErrNotExist) {
		b = []byte(rand.Text())
		err = tree.WriteFile(s.dir, "password", string(b), os.Geteuid(), os.Getegid())
	}
	return string(b), err
}

func (s *devServer) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("not ready within a minute"))
	defer cancel()
	// What may fail on a machine that is not ready comes before anything is made.
	bin, err := s.binaries(ctx)
	if err != nil {
		return err
	}
	if _, err := s.url(); err != nil {
		if err := s.portFree(); err != nil {
			return err
		}
	}
	lock, err := s.lock(ctx, s.makeDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := s.url(); err == nil {
		return s.createDatabase(ctx)
	}
	if err := s.makeData(ctx, lock, bin); err != nil {
		return err
	}
	if out, err := s.runner(lock)(ctx, filepath.Join(bin, "pg_ctl"), "start", "--pgdata="+s.data(),
		"--log="+filepath.Join(s.dir, "log"), "--wait", "--silent", "--options="+s.options()); err != nil {
		return fmt.Errorf("%w: %s; the log ends:\n%s", err, out, logTail(s.dir))
	}
	return s.createDatabase(ctx)
}

// options say where the server listens. On the command line they win over what a user wrote with
// ALTER SYSTEM, which stays as it is.
func (s *devServer) options() string {
	number, addresses := port, ""
	if s.Port != 0 {
		number, addresses = strconv.Itoa(s.Port), "127.0.0.1"
	}
	directory := `"` + strings.ReplaceAll(s.dir, `"`, `""`) + `"`
	var b strings.Builder
	for _, set := range []string{
		"unix_socket_directories=" + directory, "port=" + number, "listen_addresses=" + addresses,
	} {
		b.WriteString(" -c '" + strings.ReplaceAll(set, "'", `'\''`) + "'") // pg_ctl gives it to a shell
	}
	return b.String()
}

func (s *devServer) portFree() error {
	if s.Port == 0 {
		return nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)))
	if err != nil {
		return fmt.Errorf("port %d cannot be opened (%w); choose another one, or stop what listens there", s.Port, err)
	}
	return l.Close()
}

func (s *devServer) makeDir() error {
	parent := filepath.Dir(s.dir)
	if err := tree.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	if !s.owner.IsCaller() { // the server's user must be able to enter what root made under any umask
		if fi, err := os.Stat(parent); err == nil && tree.OwnedBy(fi, os.Geteuid()) && fi.Mode()&0o011 != 0o011 &&
			s.Dir == "" {
			if err := os.Chmod(parent, fi.Mode().Perm()|0o011); err != nil {
				return err
			}
		}
	}
	err := os.Mkdir(s.dir, 0o700)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err == nil {
		if err := s.owner.Chown(s.dir); err != nil {
			return err
		}
	}
	return tree.Private(s.dir, s.owner.UID)
}

// lock waits until no other process starts, stops or removes the server. makeDir makes its
// directory, which another process may remove; without it the error is [os.ErrNotExist].
func (s *devServer) lock(ctx context.Context, makeDir func() error) (*os.File, error) {
	for {
		if makeDir != nil {
			if err := makeDir(); err != nil {
				return nil, err
			}
		}
		lock, err := flock.Wait(ctx, s.lockFile())
		switch {
		case errors.Is(err, os.ErrNotExist) && makeDir != nil: // removed meanwhile
		case ctx.Err() != nil && err != nil:
			return nil, fmt.Errorf("another process is starting or stopping the server: %w", err)
		default:
			return lock, err
		}
	}
}

// runner runs programs to their end, even if ctx ends or this process is killed. A shell keeps the
// lock until then, so the next process does not meet what this one began. A server that a program
// starts does not have the lock.
func (s *devServer) runner(lock *os.File) runner {
	return func(ctx context.Context, program string, args ...string) (string, error) {
		args = append([]string{"-c", `"$@" 3<&-; exit`, "sh", program}, args...)
		cmd := s.owner.command(context.WithoutCancel(ctx), "/bin/sh", args...)
		cmd.ExtraFiles = []*os.File{lock}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			return "", err
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			return indent(out.Bytes()), err
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

func (s *devServer) lockFile() string { return filepath.Join(s.dir, "lock") }

// binaries prefers the version that made the data.
func (s *devServer) binaries(ctx context.Context) (string, error) {
	b, err := tree.ReadFile(s.dir, "data/PG_VERSION")
	if err != nil {
		return findBinaries(ctx, s.BinDir, s.Version)
	}
	made, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Join(s.data(), "PG_VERSION"), err)
	}
	bin, err := findBinaries(ctx, s.BinDir, made)
	if err != nil {
		return "", fmt.Errorf("%s was made by PostgreSQL %d: %w\nor delete the data and start over: pgserver remove",
			s.data(), made, err)
	}
	return bin, nil
}

// makeData makes the data directory if there is none, and writes it to the disk.
func (s *devServer) makeData(ctx context.Context, lock *os.File, bin string) error {
	if _, err := os.Stat(filepath.Join(s.data(), "PG_VERSION")); err == nil {
		return nil
	}
	if err := os.RemoveAll(s.data()); err != nil { // of an earlier version, whose start was interrupted
		return err
	}
	const making = "making-"
	left, _ := fs.Glob(os.DirFS(s.dir), making+"*")
	for _, name := range left { // of a start that was killed, whose initdb has ended
		if err := os.RemoveAll(filepath.Join(s.dir, name)); err != nil {
			return err
		}
	}
	made := filepath.Join(s.dir, making+rand.Text())
	// Not from the cache: what a crash damaged there must not become data that is kept.
	err := s.owner.dataSource(s.runner(lock), bin, "").MakeAnew(ctx, made)
	if err == nil {
		err = tree.Append(made, "postgresql.conf", "timezone = 'UTC'\n")
	}
	var out string
	if err == nil {
		out, err = s.runner(lock)(ctx, filepath.Join(bin, "initdb"), "--sync-only", "--pgdata="+made)
	}
	if err != nil {
		return noRoom(fmt.Errorf("%w\n  %s", err, out), s.dir)
	}
	if err := os.Rename(made, s.data()); err != nil {
		return err
	}
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// admin runs fn on a session of the server, alone: the statement of a process that was killed goes
// on, and the session that it runs in keeps the lock until it has ended.
func (s *devServer) admin(
	ctx context.Context, port string, limit time.Duration, fn func(context.Context, *pgx.Conn) error,
) error {
	server := &Server{url: socketURL(s.dir, port, "postgres")}
	return server.admin(ctx, limit, func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "select pg_advisory_lock(hashtext('pgserver'))"); err != nil {
			return err
		}
		return fn(ctx, conn)
	})
}

// createDatabase makes the database if it is missing, and sets the password if there is a TCP port.
func (s *devServer) createDatabase(ctx context.Context) error {
	port, tcp, err := s.listening()
	if err != nil {
		return err
	}
	return s.admin(ctx, port, adminLimit, func(ctx context.Context, conn *pgx.Conn) error {
		var exists bool
		err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)",
			s.Database).Scan(&exists)
		if err == nil && !exists {
			_, err = conn.Exec(ctx, "create database "+quote(s.Database))
		}
		if err != nil || !tcp {
			return err
		}
		password, err := s.password()
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, "alter role postgres password '"+password+"'") // letters and digits: nothing to quote
		return err
	})
}

// stop stops the server, and then runs after under the lock.
func (s *devServer) stop(ctx context.Context, after func() error) error {
	lock, err := s.lock(ctx, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := s.url(); err == nil {
		bin, err := s.binaries(ctx)
		if err != nil {
			return err
		}
		if out, err := s.runner(lock)(ctx, filepath.Join(bin, "pg_ctl"), "stop", "--pgdata="+s.data(), "--mode=fast",
			"--wait", "--silent"); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	return after()
}

// remove deletes all files, the lock last. Another process may make the directory again before it
// goes.
func (s *devServer) remove() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if path := filepath.Join(s.dir, e.Name()); path != s.lockFile() {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(s.lockFile()); err != nil {
		return err
	}
	if err := os.Remove(s.dir); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}
