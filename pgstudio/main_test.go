package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// TestMain lets the test binary run as the command. pgweb keeps its state in package variables, so
// each studio needs its own process.
func TestMain(m *testing.M) {
	if os.Getenv("STUDIO_TEST_MAIN") == "1" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// studio is a running command.
type studio struct {
	cmd  *exec.Cmd
	page string // its address
	said string // what it printed until then
	rest chan string
}

func program(t *testing.T, database string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir = t.TempDir()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != "APP_ENV" && !strings.HasPrefix(name, "PG") &&
			!strings.HasPrefix(name, "D") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "STUDIO_TEST_MAIN=1", "APP_ENV=development", "DATABASE_URL="+database,
		"DATABASE_CONNECT_TIMEOUT="+patience.String())
	return cmd
}

func start(t *testing.T, database string, args ...string) *studio {
	t.Helper()
	s := &studio{cmd: program(t, database, args...), rest: make(chan string, 1)}
	out, in, err := os.Pipe()
	must(t, err)
	s.cmd.Stdout, s.cmd.Stderr = in, in
	must(t, s.cmd.Start())
	in.Close()
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		out.Close()
	})
	lines := bufio.NewReader(out)
	for s.page == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("studio ended; it said:\n%s%s", s.said, line)
		}
		s.said += line
		s.page, _ = strings.CutPrefix(strings.TrimSpace(line), "open ")
		if !strings.HasPrefix(s.page, "http://127.0.0.1:") {
			s.page = ""
		}
	}
	go func() {
		rest, _ := io.ReadAll(lines)
		s.rest <- string(rest)
	}()
	return s
}

// stop ends it as Ctrl-C does.
func (s *studio) stop(t *testing.T) {
	t.Helper()
	must(t, s.cmd.Process.Signal(syscall.SIGINT))
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("studio: %v; it said:\n%s", err, <-s.rest)
	}
}

// query runs SQL in the same way as the page. It returns the rows, or the error that the page
// shows.
func (s *studio) query(t *testing.T, sql string) (rows [][]any, failure string) {
	t.Helper()
	answer, err := http.PostForm(s.page+"api/query", url.Values{"query": {sql}})
	must(t, err)
	defer answer.Body.Close()
	var body struct {
		Rows  [][]any
		Error string
	}
	must(t, json.NewDecoder(answer.Body).Decode(&body))
	return body.Rows, body.Error
}

func (s *studio) role(t *testing.T) string {
	t.Helper()
	rows, failure := s.query(t, "select current_user::text")
	if failure != "" {
		t.Fatal(failure)
	}
	return fmt.Sprint(rows[0][0])
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func connect(t *testing.T, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	must(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(context.WithoutCancel(t.Context()), sql)
	must(t, err)
}

// value returns one row's only column.
func value[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) (v T) {
	t.Helper()
	must(t, conn.QueryRow(t.Context(), sql, args...).Scan(&v))
	return v
}

func exists(t *testing.T, conn *pgx.Conn, role string) bool {
	t.Helper()
	return value[bool](t, conn, "select exists (select from pg_roles where rolname = $1)", role)
}

// pages makes a database with a table of two rows.
func pages(t *testing.T) (database string, conn *pgx.Conn) {
	t.Helper()
	database = pgserver.Database(t)
	conn = connect(t, database)
	execute(t, conn, `create table pages (id int primary key, title text);
		insert into pages values (1, 'Home'), (2, 'Fern Hill')`)
	return database, conn
}

func TestReads(t *testing.T) {
	t.Parallel()
	database, conn := pages(t)
	s := start(t, database)
	role := s.role(t)
	if !strings.HasPrefix(role, "pgstudio_") || !strings.Contains(s.said, role) {
		t.Errorf("runs as %s; it said:\n%s", role, s.said)
	}
	rows, failure := s.query(t, "select title from pages order by id")
	if failure != "" || len(rows) != 2 || rows[1][0] != "Fern Hill" {
		t.Errorf("%v %s", rows, failure)
	}
	if _, failure := s.query(t, "update pages set title = 'x'"); !strings.Contains(failure, "read-only transaction") {
		t.Errorf("a plain update: %q", failure)
	}
	for sql, want := range map[string]string{
		"begin read write; update pages set title = 'x'; commit":                     "permission denied",
		"set default_transaction_read_only = off; commit; delete from pages":         "permission denied",
		"begin read write; truncate pages":                                           "permission denied",
		"begin read write; drop table pages":                                         "must be owner",
		"begin read write; create role other":                                        "permission denied",
		"begin read write; alter role current_user createrole":                       "permission denied",
		"set role " + pgx.Identifier{conn.Config().User}.Sanitize():                  "permission denied",
		"set session authorization " + pgx.Identifier{conn.Config().User}.Sanitize(): "permission denied",
		"begin read write; copy pages to program 'true'":                             "external program",
		"begin read write; select pg_read_file('PG_VERSION')":                        "permission denied",
		"begin read write; create schema mine":                                       "permission denied",
		"begin read write; select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client " +
			"backend' and usename <> current_user": "",
	} {
		_, failure := s.query(t, "rollback; "+sql) // ends what the previous statement began
		if want == "" {                            // sessions of others survive, whatever the result is
			must(t, conn.Ping(t.Context()))
			continue
		}
		if !strings.Contains(failure, want) {
			t.Errorf("%s: %q, want %q", sql, failure, want)
		}
	}
	if n := value[int](t, conn, "select count(*) from pages where title <> 'x'"); n != 2 {
		t.Errorf("%d rows are as they were, want 2", n)
	}
	s.stop(t)
	if exists(t, conn, role) {
		t.Error("the role is left")
	}
}

func TestListensBehindAPathOnly(t *testing.T) {
	t.Parallel()
	database, _ := pages(t)
	s := start(t, database)
	page, err := url.Parse(s.page)
	must(t, err)
	if len(page.Path) < 34 {
		t.Errorf("the path %s can be guessed", page.Path)
	}
	root := "http://" + page.Host + "/"
	for address, want := range map[string]int{
		s.page: 200, s.page + "api/objects": 200, root: 404, root + "api/objects": 404, root + "api/info": 404,
		s.page + "api/export": 403, s.page + "api/%65xport": 403, s.page + "api/switchdb": 404,
	} {
		answer, err := http.Get(address)
		must(t, err)
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: status %d, want %d", strings.Replace(address, page.Path, "/PATH/", 1),
				answer.StatusCode, want)
		}
	}
	answer, err := http.PostForm(s.page+"api/connect", url.Values{"url": {database}})
	must(t, err)
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusBadRequest ||
		!strings.Contains(string(body), "locked") {
		t.Errorf("it connects as another user: %d %s", answer.StatusCode, body)
	}
}

// The role that a killed studio leaves expires after one lease, and the next studio drops it.
func TestKilled(t *testing.T) {
	t.Parallel()
	database, conn := pages(t)
	s := start(t, database)
	role := s.role(t)
	must(t, s.cmd.Process.Kill())
	s.cmd.Wait()
	const left = "select extract(epoch from rolvaliduntil - now())::float8 from pg_roles where rolname = $1"
	if got := value[float64](t, conn, left, role); got <= 0 || got > defaultLease.Seconds() {
		t.Errorf("valid for %v s, want up to %v", got, defaultLease)
	}
	execute(t, conn, "alter role "+role+" valid until '2020-01-01'") // the lease has passed
	next := start(t, database)
	if exists(t, conn, role) {
		t.Error("the next studio leaves the role")
	}
	next.stop(t)
}

func TestWrite(t *testing.T) {
	t.Parallel()
	database, conn := pages(t)
	s := start(t, database, "--write")
	if _, failure := s.query(t, "update pages set title = 'Changed' where id = 1"); failure != "" {
		t.Error(failure)
	}
	s.stop(t)
	if got := value[string](t, conn, "select title from pages where id = 1"); got != "Changed" {
		t.Errorf("the title is %q", got)
	}
}

// A user who may not create roles gets read-only transactions, and a warning that these are weaker.
func TestWithoutARole(t *testing.T) {
	t.Parallel()
	database, conn := pages(t)
	user := "plain_" + random(8)
	execute(t, conn, "create role "+user+" login; grant select, update on pages to "+user)
	defer execute(t, conn, "drop owned by "+user+"; drop role "+user)
	s := start(t, as(t, database, user))
	if !strings.Contains(s.said, "not from intent") || s.role(t) != user {
		t.Errorf("it said:\n%s", s.said)
	}
	if rows, failure := s.query(t, "select title from pages"); len(rows) != 2 {
		t.Errorf("%v %s", rows, failure)
	}
	for _, sql := range []string{
		"update pages set title = 'x'", "set default_transaction_read_only = off; update pages set title = 'x'",
	} {
		if _, failure := s.query(t, sql); failure == "" {
			t.Errorf("%s: not refused", sql)
		}
	}
	s.stop(t)
}

// as returns a connection string with another user.
func as(t *testing.T, database, user string) string {
	t.Helper()
	u, err := url.Parse(database)
	must(t, err)
	u.User = url.User(user)
	return u.String()
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	const (
		here  = "postgres://app:s3cret@localhost:1/app"
		there = "postgres://app:s3cret@db.example:5432/app?sslmode=verify-full"
	)
	for _, c := range []struct {
		args, environ []string
		want          string
	}{
		{nil, []string{"DATABASE_URL=" + there}, "--remote permits"},
		{nil, []string{"APP_ENV=development", "DATABASE_URL=" + there}, "db.example is not this machine"},
		{nil, []string{"APP_ENV=production", "DATABASE_URL=" + here + "?sslmode=disable"}, "--remote permits"},
		{
			[]string{"--remote", "--write"},
			[]string{"APP_ENV=development", "DATABASE_URL=" + there},
			"--write is for a local database",
		},
		{
			nil,
			[]string{"APP_ENV=development", "DATABASE_URL=postgres://app@localhost:1,127.0.0.1:2/app"},
			"several hosts",
		},
		{nil, []string{"APP_ENV=production"}, "DATABASE_URL"},
		{[]string{"--confirm=app"}, nil, "is for --write"},
		{[]string{"--port=70000"}, nil, "a port from 0"},
		{[]string{"--bind=0.0.0.0"}, nil, "not defined"},
	} {
		environ := map[string]string{}
		for _, v := range c.environ {
			name, value, _ := strings.Cut(v, "=")
			environ[name] = value
		}
		err := run(t.Context(), c.args, environ, io.Discard)
		if _, refused := err.(refusal); !refused || !strings.Contains(err.Error(), c.want) ||
			strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v %v: %v, want a refusal with %q", c.args, c.environ, err, c.want)
		}
	}
}

// Behind a tunnel the address is local, but the server is not.
func TestWriteThroughATunnel(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{TCP: true}).URL()
	config, err := pgx.ParseConfig(server)
	must(t, err)
	tunnel, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer tunnel.Close()
	go func() {
		for {
			client, err := tunnel.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				there, err := net.Dial("tcp", net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))))
				if err != nil {
					return
				}
				defer there.Close()
				go func() { _, _ = io.Copy(there, client); there.Close() }()
				_, _ = io.Copy(client, there)
			}()
		}
	}()
	u, err := url.Parse(server)
	must(t, err)
	u.Host = tunnel.Addr().String()
	out, err := program(t, u.String(), "--write").CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 2 ||
		!strings.Contains(string(out), "--confirm "+config.Database) {
		t.Errorf("%v: %s", err, out)
	}
	start(t, u.String(), "--write", "--confirm="+config.Database).stop(t)
	start(t, server, "--write").stop(t)
	start(t, u.String()).stop(t) // reading does no harm
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	database, conn := pages(t)
	s := start(t, database)
	page, err := url.Parse(s.page)
	must(t, err)
	out, err := program(t, database, "--port="+page.Port()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--port chooses another") {
		t.Errorf("%v: %s", err, out)
	}
	role := s.role(t)
	s.stop(t)
	if exists(t, conn, role) {
		t.Error("the role is left")
	}
}

const patience = time.Minute
