//go:build mage

// The commands of this repository.
package main

// The targets that other projects need too come from pgmage. The rest is this repository's own.

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/magefile/mage/mg"

	//mage:import
	_ "github.com/page-builder/persistence/pgmage"
	//mage:import db
	_ "github.com/page-builder/persistence/pgmage/db"
	//mage:import
	_ "github.com/page-builder/persistence/pgmage/doctor"
	//mage:import migrate
	_ "github.com/page-builder/persistence/pgmage/migrate"
	//mage:import
	_ "github.com/page-builder/persistence/pgmage/seed"
	//mage:import
	_ "github.com/page-builder/persistence/pgmage/studio"
)

// Aliases: a namespace and a target cannot share a name.
var Aliases = map[string]any{
	"test":     Test.All,
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

// All runs every module's tests on a real PostgreSQL, with the race detector where a C compiler is,
// and compares the checksums of the example's generated queries.
func (Test) All() error {
	return errors.Join(command("go", append(testArgs(), "work")...), generateQueries("--check-sums"))
}

// Lab runs the tests of the laboratory, which stays outside the workspace, in the same way.
func (Test) Lab() error {
	return inModules("lab/*/go.mod", func(dir string) error {
		return outsideWorkspace(dir, "go", append(testArgs(), "./...")...)
	})
}

// Matrix runs every module's tests on PostgreSQL 14 to 18, or on the versions in
// PGTEST_VERSIONS="14 18"; missing ones come by npm.
func (Test) Matrix() error { return command("bash", ".ci/matrix") }

// Shop runs the tests and the commands of examples/shop, which stays outside the workspace, in a
// copy.
func (Test) Shop() error { return command("bash", ".ci/shop") }

// Long runs what takes hours: a new project that builds sqlc and its other heavy tools, the shop,
// every module's tests on PostgreSQL 14 to 18, and a cluster that is broken under load. It needs
// the programs that cluster:up needs.
func (Test) Long() error {
	if err := os.Setenv("PGMAGE_LONG", "1"); err != nil {
		return err
	}
	return errors.Join(commandIn("pgmage", "go", "test", "-count=1", "-timeout=20m", "."),
		Test{}.Shop(), Test{}.Matrix(), Cluster{}.Chaos(nil, nil, nil))
}

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
		inModules("examples/shop/go.mod", outside),
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
	err := errors.Join(inWorkspace(tidy), inModules("lab/*/go.mod", tidy), inModules("tools/*/go.mod", tidy),
		inModules("examples/shop/go.mod", tidy), inModules("examples/shop/tools/go.mod", tidy))
	if err != nil {
		return err
	}
	if err := os.Remove("go.work.sum"); err != nil {
		return err
	}
	// This adds the sum of every module of the workspace. go doc and go list add sums of
	// modules that happen to be in the module cache, so fewer would leave a clone changed.
	return command("go", "mod", "download")
}

// Generate is the family of commands for generated code.
type Generate mg.Namespace

// All writes what is generated, the example's typed queries, the table of variables and
// example.env, and vets the queries.
func (Generate) All() error {
	if err := generateQueries(); err != nil {
		return err
	}
	return commandIn("pgconfig", "go", "generate", "./...")
}

// Check fails if sqlc would write other code than is here, or if a query is wrong on a migrated
// database.
func (Generate) Check() error { return generateQueries("--check") }

func generateQueries(flags ...string) error {
	return run("./pgmigrate/dev/cmd/pgmigrate-dev", append([]string{
		"generate", "--config", "examples/pages/sqlc.yaml", "--dir", "migrations",
	}, flags...)...)
}

// Bench compares the modules with what one would use without them, side by side, for some minutes,
// and writes lab/bench/RESULTS.md with charts.
func Bench() error { return runAlone("lab/bench", ".", "-results", "lab/bench") }

// Cluster is the family of commands for a cluster on this machine that fails over: Patroni, etcd,
// HAProxy, PgBouncer.
type Cluster mg.Namespace

// Up starts a cluster of three nodes, prints how to connect, and keeps it until Ctrl-C or
// cluster:down.
func (Cluster) Up() error { return runAlone("lab/cluster", "./cmd/cluster", "up") }

// Down stops the cluster that cluster:up keeps.
func (Cluster) Down() error { return runAlone("lab/cluster", "./cmd/cluster", "down") }

// Citus runs a ledger on a coordinator and two workers of Citus, breaks COMMITs and kills a worker
// meanwhile, where the installed PostgreSQL has the extension. -plain runs it without, to compare.
func (Cluster) Citus(plain *bool) error {
	args := []string{"citus"}
	if plain != nil && *plain {
		args = append(args, "-plain")
	}
	return runAlone("lab/cluster", "./cmd/cluster", args...)
}

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
