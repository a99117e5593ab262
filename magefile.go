//go:build mage

// The commands of this repository.
package main

// Targets that other projects need too come from pgmage. The rest is for this repository only.

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
	"cover":    Cover.All,
	"generate": Generate.All,
}

// Demo shows the whole kit at work in under a minute, on its own PostgreSQL or on DATABASE_URL.
func Demo() error { return run("./examples/pages/cmd/demo") }

// Serve runs the example's two services and prints their addresses. It uses DATABASE_URL, or a
// throwaway PostgreSQL. -host=ADDRESS and -render=ADDRESS choose where the services listen.
func Serve(host, render *string) error {
	var args []string
	if host != nil {
		args = append(args, "-host="+*host)
	}
	if render != nil {
		args = append(args, "-render="+*render)
	}
	return run("./examples/pages/cmd/serve", args...)
}

// Test is the family of commands that test the modules.
type Test mg.Namespace

// All runs every module's tests on a real PostgreSQL, with the race detector if there is a C
// compiler. It also compares the checksums of the example's generated queries.
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
// PGTEST_VERSIONS="14 18". It downloads missing ones with npm.
func (Test) Matrix() error { return command("bash", ".ci/matrix") }

// Shop runs the tests and the commands of examples/shop, which stays outside the workspace, in a
// copy.
func (Test) Shop() error { return command("bash", ".ci/shop") }

// Long runs the tests that take hours: a new project that builds sqlc and other heavy tools, the
// shop, every module's tests on PostgreSQL 14 to 18, and faults in a cluster under load. It needs
// the same programs as cluster:up.
func (Test) Long() error {
	if err := os.Setenv("PGMAGE_LONG", "1"); err != nil {
		return err
	}
	return errors.Join(commandIn("pgmage", "go", "test", "-count=1", "-timeout=20m", "."),
		Test{}.Shop(), Test{}.Matrix(), Cluster{}.Chaos(nil, nil, nil))
}

// Cover is the family of commands that judge the tests.
type Cover mg.Namespace

// All prints the statement coverage of each published module, and fails below its goal.
// -module=pgtx measures only one.
func (Cover) All(module *string) error {
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
	case "pgconfig", "pgerr": // no server, no clock: every line is easy to reach
		return module + "=100"
	case "pgquery":
		return module + "=95"
	}
	return module + "=90"
}

// Mutants puts small faults into a module's code, one after the other, and prints how many make its
// tests fail. It judges pgerr, pgconfig and pgquery, or only -module=pgtx. This takes hours.
func (Cover) Mutants(module *string) error {
	gremlins, err := tool("gremlins")
	if err != nil {
		return err
	}
	modules := []string{"pgerr=95", "pgconfig=95", "pgquery=95"}
	if module != nil {
		modules = []string{*module}
	}
	return runAlone("tools/mutants", ".", append([]string{"-gremlins=" + gremlins}, modules...)...)
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

// Modules checks that each module works on its own: it is tidy, builds and vets without the
// workspace, and imports only the modules on its list.
func Modules() error { return command("bash", ".ci/modules") }

// Release is the family of commands for releases.
type Release mg.Namespace

// Check publishes the committed modules into a folder, uses each from outside as a consumer would,
// and prints the tags to push.
func (Release) Check() error {
	if err := command("go", "test", "-run=^TestGo$", "./examples/pages/guides"); err != nil { // the READMEs' code
		return err
	}
	// gorelease asks for the versions of every requirement. A proxy may refuse to list those of a
	// module without tags, but the module cache lists what was downloaded.
	if err := command("go", "mod", "download"); err != nil {
		return err
	}
	gorelease, err := tool("gorelease")
	if err != nil {
		return err
	}
	return runAlone("tools/release", ".", "-gorelease="+gorelease)
}

// Tidy runs go mod tidy in every module, because a change in one module affects the go.sum of every
// module that imports it. It also rewrites go.work.sum.
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
	// This adds the sum of every module of the workspace. With fewer sums, go doc and go list would
	// add sums of modules in the module cache, and so change a clone.
	return command("go", "mod", "download")
}

// Generate is the family of commands for generated code.
type Generate mg.Namespace

// All regenerates the example's typed queries, the table of variables and example.env, and vets the
// queries.
func (Generate) All() error {
	if err := generateQueries(); err != nil {
		return err
	}
	return commandIn("pgconfig", "go", "generate", "./...")
}

// Check fails if the generated queries are stale, or if a query is wrong on a migrated database.
func (Generate) Check() error { return generateQueries("--check") }

func generateQueries(flags ...string) error {
	return run("./pgmigrate/dev/cmd/pgmigrate-dev", append([]string{
		"generate", "--config", "examples/pages/sqlc.yaml", "--dir", "migrations",
	}, flags...)...)
}

// Bench compares the modules side by side with their alternatives, which takes some minutes, and
// writes lab/bench/RESULTS.md with charts.
func Bench() error { return runAlone("lab/bench", ".", "-results", "lab/bench") }

// Cluster is the family of commands for a cluster on this machine that fails over: Patroni, etcd,
// HAProxy, PgBouncer.
type Cluster mg.Namespace

// Up starts a cluster of three nodes and prints how to connect. The cluster runs until Ctrl-C or
// cluster:down.
func (Cluster) Up() error { return runAlone("lab/cluster", "./cmd/cluster", "up") }

// Down stops the cluster that cluster:up keeps.
func (Cluster) Down() error { return runAlone("lab/cluster", "./cmd/cluster", "down") }

// Citus runs a ledger on a coordinator and two workers of Citus, while it breaks COMMITs and kills
// a worker. The installed PostgreSQL needs the extension; -plain runs without it, to compare.
func (Cluster) Citus(plain *bool) error {
	args := []string{"citus"}
	if plain != nil && *plain {
		args = append(args, "-plain")
	}
	return runAlone("lab/cluster", "./cmd/cluster", args...)
}

// Demo starts a cluster, kills its primary under load, and shows what programs notice.
func (Cluster) Demo() error { return runAlone("lab/cluster", "./cmd/cluster", "demo") }

// Chaos breaks a cluster under load and judges the result: 20 rounds of the main faults and 5 of
// the others. -rounds, -fault=a,b and -via shorten it.
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
