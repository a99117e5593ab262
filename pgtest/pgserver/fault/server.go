package fault

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// ServerOptions of a [Server].
type ServerOptions struct {
	// Settings are added to postgresql.conf. fsync is off unless they say otherwise: no commit is
	// lost by a kill, only by a crash of the machine.
	Settings map[string]string

	// TCP opens a port of 127.0.0.1 as well, where the server asks for a password. The port stays
	// the same, and reserved while the server is down. URL then leads there.
	TCP bool
}

// TB is the part of [testing.TB] that the kit needs where a test may be skipped.
type TB interface {
	pgserver.TB
	Skipf(format string, args ...any)
}

// Server is a PostgreSQL server of one test. It ends with the test, also if the test's process is
// killed.
//
// Methods that take a test fail it if they do not succeed. They must not be called concurrently.
type Server struct {
	bin      string
	keeper   *keeper // of the directory with the socket and the data
	settings map[string]string
	port     *port // on TCP, or nil
	password string
	process  *process // nil: down
	primary  *Server
	link     *Proxy
}

// NewServer makes and starts a server with a superuser and a database postgres, of the version that
// [pgserver.Acquire] would start. It listens on a Unix socket in a directory that only its user and
// root can enter. Where there is no PostgreSQL the test is skipped.
//
// It blocks until the server accepts connections: some tenths of a second, and one more second the
// first time, when initdb's result goes to the user's cache directory (28 MB).
func NewServer(t TB, opts ServerOptions) *Server {
	t.Helper()
	s := newServer(t)
	s.settings = map[string]string{
		"fsync":                       "off",
		"shared_buffers":              "32MB",
		"dynamic_shared_memory_type":  "mmap", // files that go with the directory, even after a kill
		"timezone":                    "UTC",
		"log_timezone":                "UTC",
		"wal_retrieve_retry_interval": "100ms", // of a standby whose link is back
	}
	maps.Copy(s.settings, opts.Settings)
	ctx, cancel := limited(t)
	defer cancel()
	if opts.TCP {
		if err := s.openTCP(); err != nil {
			t.Fatalf("fault: server: %v", err)
			return nil
		}
	}
	if err := s.initialize(ctx); err != nil {
		t.Fatalf("fault: server: %v", err)
		return nil
	}
	s.Start(t)
	if opts.TCP {
		s.Exec(t, "alter role postgres password '"+s.password+"'") // letters and digits
	}
	return s
}

// newServer finds the programs and makes the directory, which goes with the test.
func newServer(t TB) *Server {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	bin, err := pgserver.Binaries(ctx, pgserver.Options{})
	var missing *pgserver.NotFoundError
	if errors.As(err, &missing) {
		t.Skipf("fault: server: %v", err)
		return nil
	}
	s := &Server{bin: bin}
	var owner pgserver.Owner
	if err == nil {
		owner, err = pgserver.FindOwner()
	}
	if err == nil {
		s.keeper, err = keep(owner, memory()...)
	}
	if err != nil {
		t.Fatalf("fault: server: %v", err)
		return nil
	}
	t.Cleanup(func() {
		_ = s.halt(syscall.SIGQUIT) // it may be down
		if s.port != nil {
			s.port.close()
		}
		s.keeper.release()
	})
	return s
}

// memory returns a file system in memory with room for some servers, if there is one.
func memory() []string {
	const shm, room = "/dev/shm", 1 << 30
	var fs syscall.Statfs_t
	if err := syscall.Statfs(shm, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return nil
	}
	return []string{shm}
}

func limited(t pgserver.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(t.Context()), startLimit)
}

func (s *Server) openTCP() (err error) {
	s.port, err = openPort(false)
	s.password = rand.Text()
	return err
}

// ownConf is a file in the data directory.
const ownConf = "fault.conf"

func (s *Server) configure() error {
	set := maps.Clone(s.settings)
	set["unix_socket_directories"], set["port"], set["listen_addresses"] = s.keeper.dir, "5432", ""
	if s.port != nil {
		_, number, err := net.SplitHostPort(s.port.address)
		if err != nil {
			return err
		}
		set["port"], set["listen_addresses"] = number, "127.0.0.1"
	}
	if s.link != nil {
		host, number, err := net.SplitHostPort(s.link.Addr())
		if err != nil {
			return err
		}
		set["primary_conninfo"] = fmt.Sprintf("host=%s port=%s user=postgres sslmode=disable application_name=%s",
			host, number, filepath.Base(s.keeper.dir))
	}
	var conf strings.Builder
	for _, name := range slices.Sorted(maps.Keys(set)) {
		fmt.Fprintf(&conf, "%s = %s\n", name, quoteValue(set[name]))
	}
	return s.write(ownConf, conf.String())
}

// write makes a file of the owner in the data directory.
func (s *Server) write(name, text string) error {
	return s.keeper.write(filepath.Join("data", name), text)
}

// run runs one of PostgreSQL's programs as the owner.
func (s *Server) run(ctx context.Context, program string, args ...string) error {
	var out bytes.Buffer
	cmd := s.keeper.program(filepath.Join(s.bin, program), args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	defer s.keeper.forget(cmd)
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, &out)
	}
	return nil
}

// URL returns the connection string of the server's database postgres, for a superuser.
func (s *Server) URL() string { return s.DatabaseURL("postgres") }

// DatabaseURL returns the connection string of the named database on this server, which need not
// exist.
func (s *Server) DatabaseURL(name string) string {
	if s.port == nil {
		return s.socketURL(name)
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", s.password), Host: s.port.address, Path: "/" + name,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

func (s *Server) socketURL(database string) string {
	return hostsURL(database, url.Values{}, s)
}

// HostsURL returns a connection string that names several servers by their sockets. The client
// chooses the first one that fits attrs, a value of target_session_attrs such as read-write.
func HostsURL(attrs string, servers ...*Server) string {
	return hostsURL("postgres", url.Values{"target_session_attrs": {attrs}}, servers...)
}

func hostsURL(database string, query url.Values, servers ...*Server) string {
	var hosts, ports []string
	for _, s := range servers {
		number := "5432"
		if s.port != nil {
			_, number, _ = net.SplitHostPort(s.port.address)
		}
		hosts, ports = append(hosts, s.keeper.dir), append(ports, number)
	}
	query.Set("host", strings.Join(hosts, ","))
	query.Set("port", strings.Join(ports, ","))
	u := url.URL{
		Scheme: "postgres", User: url.User("postgres"), Path: "/" + database,
		RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20"), // libpq takes a plus sign for itself
	}
	return u.String()
}

// SocketDir returns the directory of the server's socket, where it trusts all users.
func (s *Server) SocketDir() string { return s.keeper.dir }

// Data returns the path of a file in the data directory, or of the directory itself.
func (s *Server) Data(name ...string) string {
	return filepath.Join(append([]string{s.keeper.dir, "data"}, name...)...)
}

// Write makes or replaces a file in the data directory, such as pg_hba.conf or server.key, which
// only the server's user can read.
func (s *Server) Write(t pgserver.TB, name, text string) {
	t.Helper()
	if err := s.write(name, text); err != nil {
		t.Fatalf("fault: write %s: %v", name, err)
	}
}

// Configure changes settings in postgresql.conf. They take effect at the next start.
func (s *Server) Configure(t pgserver.TB, settings map[string]string) {
	t.Helper()
	maps.Copy(s.settings, settings)
	if err := s.configure(); err != nil {
		t.Fatalf("fault: configure the server: %v", err)
	}
}

// Exec runs statements one by one, each in its own transaction, on a new connection. The error
// quotes a statement unless it has the word password.
func (s *Server) Exec(t pgserver.TB, sqls ...string) {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	if err := s.exec(ctx, sqls...); err != nil {
		t.Fatalf("fault: %v", err)
	}
}

func (s *Server) exec(ctx context.Context, sqls ...string) error {
	return s.ask(ctx, func(conn *pgx.Conn) error {
		for _, sql := range sqls {
			_, err := conn.Exec(ctx, sql)
			if err != nil && strings.Contains(strings.ToLower(sql), "password") {
				return fmt.Errorf("a statement about a password: %w", err)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
		return nil
	})
}

func (s *Server) ask(ctx context.Context, fn func(*pgx.Conn) error) error {
	cfg, err := pgserver.ParseConfig(s.socketURL("postgres"))
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return fn(conn)
}

var errDown = errors.New("the server is down")
