package pgtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/peterldowns/pgtestdb"
)

// makeTemplate has pgtestdb make a template owned by owner, and a first copy of it. session returns
// how to connect to a database: as the server's administrator, or as owner.
//
// pgtestdb connects by a URL that it puts together itself, makes a role in two statements, and
// remembers for the life of the process which templates it has made. So it gets a driver that takes
// the database and the role from that URL and all else from session, a role that exists, and a
// password that no earlier call had.
func makeTemplate(
	m pgtestdb.Migrator, owner, token string, session func(database, role string) (*pgx.ConnConfig, error),
) (template, instance string, err error) {
	conf := pgtestdb.Config{
		DriverName: "pgtest-" + token, Host: "localhost", Port: "5432", User: administrator, Database: maintenance,
		TestRole: &pgtestdb.Role{Username: owner, Password: token, Capabilities: owner},
	}
	sql.Register(conf.DriverName, testdbDriver{session})
	made, err := runTestdb(conf, asOwner{m, session})
	if err != nil {
		return "", "", err
	}
	template, _, _ = strings.Cut(made.Database, "_inst_")
	return template, made.Database, nil
}

// What stands in pgtestdb's URLs for the server's administrator and the database that it uses.
const administrator, maintenance = "administrator", ""

// asOwner gives the migrator a connection of session's, and a configuration that leads there.
type asOwner struct {
	pgtestdb.Migrator
	session func(database, role string) (*pgx.ConnConfig, error)
}

// Migrate is called by pgtestdb for a new template.
func (m asOwner) Migrate(ctx context.Context, db *sql.DB, conf pgtestdb.Config) error {
	cfg, err := m.session(conf.Database, conf.User)
	if err != nil {
		return err
	}
	// What follows is for migrators that connect by themselves.
	u, err := url.Parse(cfg.ConnString())
	if err != nil {
		return errors.New("the server's connection string does not parse") // err would quote it
	}
	parameters := u.Query()
	parameters.Set("options", cfg.RuntimeParams["options"])
	conf.DriverName = "pgx"
	conf.User, conf.Password = url.PathEscape(cfg.User), url.PathEscape(cfg.Password)
	if u.Hostname() != "" {
		conf.Host, conf.Port = u.Hostname(), u.Port()
	}
	if strings.Contains(conf.Host, ":") {
		conf.Host = "[" + conf.Host + "]"
	}
	if conf.Port == "" {
		conf.Port = "5432"
	}
	conf.Options = encodeQuery(parameters)
	err = m.Migrator.Migrate(ctx, db, conf)
	if hasCode(err, "42710") { // duplicate_object
		return fmt.Errorf("%w\na role belongs to the server, so another template, such as of these migrations before "+
			"they were edited, may have made it: make it by do $$ begin create role …; exception when "+
			"duplicate_object then null; end $$", err)
	}
	return err
}

// testdbDriver connects for pgtestdb. It is registered once for each template that is made.
type testdbDriver struct {
	session func(database, role string) (*pgx.ConnConfig, error)
}

var _ driver.DriverContext = testdbDriver{}

// OpenConnector is called by [sql.Open].
func (d testdbDriver) OpenConnector(name string) (driver.Connector, error) {
	u, err := url.Parse(name)
	if err != nil {
		return nil, errors.New("pgtestdb's connection string does not parse")
	}
	role := u.User.Username()
	if role == administrator {
		role = ""
	}
	cfg, err := d.session(strings.TrimPrefix(u.Path, "/"), role)
	if err != nil {
		return nil, err
	}
	return stdlib.GetConnector(*cfg), nil
}

// Open is not called: [sql.Open] prefers OpenConnector.
func (d testdbDriver) Open(name string) (driver.Conn, error) {
	c, err := d.OpenConnector(name)
	if err != nil {
		return nil, err
	}
	return c.Connect(context.Background())
}

// runTestdb is pgtestdb.Custom outside a test. The template outlives the test that happens to be
// the first, so pgtestdb must not drop the copy when that test ends.
func runTestdb(conf pgtestdb.Config, m pgtestdb.Migrator) (instance *pgtestdb.Config, err error) {
	done := make(chan struct{})
	outcome := &firstTest{}
	go func() { // Fatalf ends it
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				outcome.err = fmt.Errorf("the migrator panicked: %v", p)
			}
		}()
		instance = pgtestdb.Custom(outcome, conf, m)
	}()
	<-done
	if outcome.err != nil {
		return nil, outcome.err
	}
	return instance, nil
}

// firstTest stands for a test that never ends.
type firstTest struct{ err error }

func (*firstTest) Helper()             {}
func (*firstTest) Cleanup(func())      {}
func (*firstTest) Failed() bool        { return false }
func (*firstTest) Logf(string, ...any) {}
func (f *firstTest) Fatalf(format string, args ...any) {
	f.err = fmt.Errorf(format, args...)
	runtime.Goexit()
}
