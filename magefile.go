//go:build mage

// The commands of this repository.
package main

// Everything is a command of one of the modules: this file only says which, so that the root module
// needs nothing but mage. A project of your own needs six lines of it; see pgmigrate/README.md.

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/magefile/mage/mg"
)

// Aliases: a namespace and a target cannot share a name.
var Aliases = map[string]any{
	"migrate":  Migrate.Up,
	"test":     Test.All,
	"db":       Db.Url,
	"generate": Generate.All,
}

// Demo shows the whole kit at work on a PostgreSQL of its own, or on DATABASE_URL, in under a
// minute.
func Demo() error { return run("./examples/pages/cmd/demo") }

// Serve runs the example's two services, on DATABASE_URL or on a PostgreSQL that is gone
// afterwards, and prints where to look.
func Serve() error { return run("./examples/pages/cmd/serve") }

// Test is the family of commands that test the modules.
type Test mg.Namespace

// All runs every module's tests on a real PostgreSQL, with the race detector where a C compiler is.
func (Test) All() error { return command("go", append(testArgs(), "work")...) }

// Lab runs the tests of the laboratory, which stays outside the workspace, in the same way.
func (Test) Lab() error {
	return inModules("lab/*/go.mod", func(dir string) error {
		return outsideWorkspace(dir, "go", append(testArgs(), "./...")...)
	})
}

// Matrix runs every module's tests on PostgreSQL 14 to 18, or on those of PGTEST_VERSIONS="14 18";
// missing ones come by npm.
func (Test) Matrix() error { return command("bash", ".ci/matrix") }

// Cover prints what share of each published module's statements its tests reach, and fails below
// its goal; -module=pgtx: of one.
func Cover(module *string) error {
	if module != nil {
		return runAlone("tools/cover", ".", "-list", coverGoal(*module))
	}
	var modules []string
	err := inWorkspace(func(dir string) error {
		if !strings.HasPrefix(dir, "examples") {
			modules = append(modules, coverGoal(dir))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return runAlone("tools/cover", ".", modules...)
}

func coverGoal(module string) string {
	switch module {
	case "pgconfig", "pgerr": // no server, no clock: nothing is hard to reach
		return module + "=100"
	case "pgquery":
		return module + "=95"
	}
	return module + "=90"
}

// Lint checks the format and the width of comments, vets, and runs golangci-lint. The first run
// builds the linter, which takes minutes.
func Lint() error {
	if err := errors.Join(unformatted(), checkComments()); err != nil {
		return err
	}
	if err := command("go", "vet", "-tags=mage", "."); err != nil {
		return err
	}
	linter, err := tool("golangci-lint")
	if err != nil {
		return err
	}
	args := []string{"run", "--config", root(".golangci.yml"), "./..."}
	outside := func(dir string) error { return outsideWorkspace(dir, linter, args...) }
	return errors.Join(
		inWorkspace(func(dir string) error { return commandIn(dir, linter, args...) }),
		inModules("lab/*/go.mod", outside),
		inModules("tools/*/go.mod", outside))
}

// Modules checks that each module stands alone: tidy, built and vetted without the workspace,
// importing only what it may.
func Modules() error { return command("bash", ".ci/modules") }

// Release is the family of commands for releases.
type Release mg.Namespace

// Check publishes the committed modules into a folder, uses each from outside as a consumer would,
// and prints the tags to push.
func (Release) Check() error {
	if err := command("go", "test", "-run=^TestGo$", "./examples/pages/guides"); err != nil { // the READMEs' code
		return err
	}
	gorelease, err := tool("gorelease")
	if err != nil {
		return err
	}
	return runAlone("tools/release", ".", "-gorelease="+gorelease)
}

// Tidy runs go mod tidy in every module, because a change in one reaches the go.sum of those that
// import it, and writes go.work.sum from nothing.
func Tidy() error {
	tidy := func(dir string) error { return outsideWorkspace(dir, "go", "mod", "tidy") }
	err := errors.Join(inWorkspace(tidy), inModules("lab/*/go.mod", tidy), inModules("tools/*/go.mod", tidy))
	if err != nil {
		return err
	}
	if err := os.Remove("go.work.sum"); err != nil {
		return err
	}
	// This adds the sum of every module of the workspace. go doc and go list add those of the
	// modules that happen to be in the module cache, so fewer would leave a clone changed.
	return command("go", "mod", "download")
}

// Generate is the family of commands for generated code.
type Generate mg.Namespace

// All writes what is generated, the example's typed queries, the table of variables and
// example.env, and vets the queries.
func (Generate) All() error {
	sqlc, err := tool("sqlc")
	if err != nil {
		return err
	}
	if err := commandIn("examples/pages", sqlc, "generate"); err != nil {
		return err
	}
	if err := commandIn("pgconfig", "go", "generate", "./..."); err != nil {
		return err
	}
	return checkQueries(sqlc, "-update")
}

// Check fails if sqlc would write other code than is here, or if a query is wrong on a migrated
// database.
func (Generate) Check() error {
	sqlc, err := tool("sqlc")
	if err != nil {
		return err
	}
	return checkQueries(sqlc)
}

// checkQueries runs sqlc diff and sqlc vet on a database of a test's own, never on one that
// somebody uses.
func checkQueries(sqlc string, flags ...string) error {
	if err := os.Setenv("SQLC", sqlc); err != nil {
		return err
	}
	return command("go", append([]string{"test", "-count=1", "-run=^TestGenerated$", "./examples/pages/db"},
		flags...)...)
}

// Doctor checks the configuration, connects, and reports what will not work; -explain prints the
// table of variables.
func Doctor(explain *bool, instances *int) error {
	var args []string
	if explain != nil && *explain {
		args = append(args, "-explain")
	} else if err := useDevelopmentServer(); err != nil {
		return err
	}
	if instances != nil {
		args = append(args, fmt.Sprintf("-instances=%d", *instances))
	}
	return run("./pgpool/cmd/pgdoctor", args...)
}

// Studio shows the database's tables in the browser, read-only, until Ctrl-C; -write lets a local
// one be changed.
func Studio(port *int, write, remote *bool) error {
	if err := useDevelopmentServer(); err != nil {
		return err
	}
	var args []string
	if port != nil {
		args = append(args, fmt.Sprintf("-port=%d", *port))
	}
	if write != nil && *write {
		args = append(args, "-write")
	}
	if remote != nil && *remote {
		args = append(args, "-remote")
	}
	return runAlone("tools/studio", ".", args...)
}

// Bench compares the modules with what one would use without them, side by side, for some minutes,
// and writes lab/bench/RESULTS.md with charts.
func Bench() error { return runAlone("lab/bench", ".", "-results", "lab/bench") }

// Migrate is the family of commands for the schema, on DATABASE_URL or the development server.
type Migrate mg.Namespace

// Up applies all pending migrations.
func (Migrate) Up() error { return pgmigrate("up") }

// To goes up or down to a version.
func (Migrate) To(version string) error { return pgmigrate("to", version) }

// Down undoes the last migration.
func (Migrate) Down() error { return pgmigrate("down") }

// Status lists the migrations, applied and pending.
func (Migrate) Status() error { return pgmigrate("status") }

// Plan prints the SQL that up would run. It changes nothing.
func (Migrate) Plan() error { return pgmigrate("plan") }

// New makes an empty migration file.
func (Migrate) New(name string) error { return pgmigrate("new", name) }

// Reset takes all migrations back and applies them again. It refuses a database that is not on this
// machine.
func (Migrate) Reset() error { return pgmigrate("reset") }

// Redo takes the last migration back and applies it again.
func (Migrate) Redo() error { return pgmigrate("redo") }

// History lists what was run on the database, when, by whom and how it ended.
func (Migrate) History() error { return pgmigrate("history") }

// Baseline records that a database which has the schema already is at a version. Nothing is run.
func (Migrate) Baseline(version string) error { return pgmigrate("baseline", version) }

// Resolve says how a step that was interrupted has ended: outcome is applied or rolled-back.
func (Migrate) Resolve(version, outcome string) error {
	return pgmigrate("resolve", version, "--"+outcome)
}

// Lint judges the migrations that are pending on DATABASE_URL, or the newest, by what they do to a
// shadow database.
func (Migrate) Lint() error { return run(developmentCommand, "lint") }

// Diff writes the migration that leads to schema.sql, the schema as it should be.
func (Migrate) Diff(name string) error { return run(developmentCommand, "diff", name) }

// Drift tells whether the database still is what its migrations make.
func (Migrate) Drift() error { return onDatabase("drift") }

// Pull writes schema.sql from the database.
func (Migrate) Pull() error { return onDatabase("pull") }

const developmentCommand = "./pgmigrate/dev/cmd/pgmigrate-dev"

func onDatabase(command string) error {
	if err := useDevelopmentServer(); err != nil {
		return err
	}
	return run(developmentCommand, command)
}

// Wait blocks until the database is at the newest migration.
func (Migrate) Wait() error { return pgmigrate("wait") }

// Seed runs the seed files of the environment (-env=development).
func Seed(env *string) error {
	if env != nil {
		return pgmigrate("seed", "--env", *env)
	}
	return pgmigrate("seed")
}

// Db is the family of commands for the development server: a durable PostgreSQL on this machine.
type Db mg.Namespace

// Start starts the development server and prints its connection string. -port=5432 opens that port
// on loopback as well.
func (Db) Start(port *int) error {
	if port != nil {
		return pgserver("start", fmt.Sprintf("-port=%d", *port))
	}
	return pgserver("start")
}

// Stop stops the development server. Its data stays.
func (Db) Stop() error { return pgserver("stop") }

// Url prints the development server's connection string.
func (Db) Url() error { return pgserver("url") }

// Remove stops the development server and deletes its data.
func (Db) Remove() error { return pgserver("remove") }

// Clean drops the databases that failed tests kept (PGTEST_KEEP=1).
func (Db) Clean() error { return run("./pgtest/cmd/pgtest", "clean") }

// Cluster is the family of commands for a cluster on this machine that fails over: Patroni, etcd,
// HAProxy, PgBouncer.
type Cluster mg.Namespace

// Up starts a cluster of three nodes, prints how to connect, and keeps it until Ctrl-C or
// cluster:down.
func (Cluster) Up() error { return runAlone("lab/cluster", "./cmd/cluster", "up") }

// Down stops the cluster that cluster:up keeps.
func (Cluster) Down() error { return runAlone("lab/cluster", "./cmd/cluster", "down") }

// Demo starts a cluster, kills its primary under load, and tells what programs see of it.
func (Cluster) Demo() error { return runAlone("lab/cluster", "./cmd/cluster", "demo") }

// Chaos breaks a cluster under load, 20 rounds of the main faults and 5 of the others, and judges
// what became of it; -rounds, -fault=a,b and -via shorten it.
func (Cluster) Chaos(rounds *int, fault, via *string) error {
	var args []string
	if rounds != nil {
		args = append(args, fmt.Sprintf("-rounds=%d", *rounds))
	}
	if fault != nil {
		args = append(args, "-fault="+*fault)
	}
	if via != nil {
		args = append(args, "-via="+*via)
	}
	return runAlone("lab/cluster", "./cmd/chaos", args...)
}

const developmentServer = "./pgtest/pgserver/cmd/pgserver"

func pgserver(args ...string) error { return run(developmentServer, args...) }

func pgmigrate(args ...string) error {
	if err := useDevelopmentServer(); err != nil {
		return err
	}
	return run("./pgmigrate/cmd/pgmigrate", args...)
}

// useDevelopmentServer sets DATABASE_URL to the development server's if nothing else says where the
// database is. In production a forgotten variable must stay an error.
func useDevelopmentServer() error {
	switch os.Getenv("APP_ENV") {
	case "", "development", "test":
	default:
		return nil
	}
	for _, name := range []string{
		"DATABASE_URL", "DATABASE_URL_FILE", "DIRECT_DATABASE_URL", "PGHOST", "PGSERVICE", "PGDATABASE",
	} {
		if os.Getenv(name) != "" {
			return nil
		}
	}
	if _, err := os.Stat(".env"); err == nil {
		return nil // may name it
	}
	var out bytes.Buffer
	cmd := exec.Command("go", "run", developmentServer, "url")
	cmd.Stdout = &out
	if cmd.Run() != nil {
		fmt.Fprintln(os.Stderr,
			"no database: set DATABASE_URL, or start the development server with: go tool mage db:start")
		return failed(2)
	}
	fmt.Fprintln(os.Stderr, "using the development server; set DATABASE_URL for another database")
	if os.Getenv("APP_ENV") == "" { // unset, it would mean production
		if err := os.Setenv("APP_ENV", "development"); err != nil {
			return err
		}
	}
	return os.Setenv("DATABASE_URL", strings.TrimSpace(out.String()))
}
