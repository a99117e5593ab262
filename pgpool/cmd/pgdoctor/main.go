// Command pgdoctor checks how a program is configured to use PostgreSQL, and then the database
// itself.
//
//	pgdoctor [--prefix NAME] [--instances N] [--timeout 10s]
//	pgdoctor database [--json] [--prefix NAME] [--timeout 2m]
//	pgdoctor --explain
//
// It reads the same variables as the program, .env included, and changes nothing: it lists every
// setting with where it came from, connects, and reports the server's version, TLS, the server's
// role and the user's, settings that did not take effect, PgBouncer, the connection budget and the
// clocks' difference. It prints no password.
//
// "pgdoctor database" looks at the database in use: connections, long transactions, slots,
// wraparound, sequences, autovacuum, bloat, indexes and the statements that took most time. It only
// reads. A role with pg_monitor sees everything.
//
// The exit code is 0 if nothing is wrong (there may be warnings), 1 if something is wrong with a
// database that was reached, 2 if the arguments or the configuration cannot be used, and 3 if a
// database cannot be reached.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/page-builder/persistence/pgconfig"
)

// The exit codes.
const (
	fine       = iota
	wrong      // a database was reached
	unusable   // the arguments or the configuration
	notReached // a database
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], pgconfig.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, environ map[string]string, stdout, stderr io.Writer) int {
	database := len(args) > 0 && args[0] == "database"
	if database {
		args = args[1:]
	}
	flags := flag.NewFlagSet("pgdoctor", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	prefix := flags.String("prefix", "", "")
	var asJSON, explain bool
	instances, limit := 1, 10*time.Second
	if database {
		flags.BoolVar(&asJSON, "json", false, "")
		limit = 2 * time.Minute // each check has 5 s
	} else {
		flags.BoolVar(&explain, "explain", false, "")
		flags.IntVar(&instances, "instances", 1, "")
	}
	timeout := flags.Duration("timeout", limit, "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, usage)
			return fine
		}
		fmt.Fprintf(stderr, "pgdoctor: %v; see pgdoctor --help\n", err)
		return unusable
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "pgdoctor: unexpected argument %q; see pgdoctor --help\n", flags.Arg(0))
		return unusable
	}
	if instances < 1 || *timeout <= 0 {
		fmt.Fprintln(stderr, "pgdoctor: --instances is at least 1, and --timeout is above 0; see pgdoctor --help")
		return unusable
	}
	if explain {
		explainVariables(stdout, *prefix)
		return fine
	}

	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Prefix: *prefix, Environ: environ, DotEnv: []string{".env"}})
	if err != nil {
		fmt.Fprintln(stdout, err)
		return unusable
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if database {
		return reportDatabase(ctx, cfg, stdout, stderr, asJSON)
	}
	reportConfiguration(stdout, cfg)
	d := &doctor{out: stdout, cfg: cfg, instances: instances}
	if err := d.examine(ctx); err != nil {
		fmt.Fprintln(stdout, err)
		return unusable
	}
	fmt.Fprintf(stdout, "\n%s, %s\n", count(d.problems+d.unreached, "problem"), count(d.warnings, "warning"))
	switch {
	case d.unreached > 0:
		return notReached
	case d.problems > 0:
		return wrong
	}
	return fine
}

const usage = `usage: pgdoctor [--prefix NAME] [--instances N] [--timeout 10s]
       pgdoctor database [--json] [--prefix NAME] [--timeout 2m]
       pgdoctor --explain

  --explain      print the table of variables and exit
  --instances N  how many instances of the program run, for the connection budget (default 1)
  --json         of pgdoctor database: print JSON
  --prefix NAME  of the variables, as in ANALYTICS_DATABASE_URL
  --timeout D    limit on everything that is asked of the databases (default 10s, of pgdoctor database 2m)
`

// reportDatabase is "pgdoctor database".
func reportDatabase(ctx context.Context, cfg pgconfig.Config, stdout, stderr io.Writer, asJSON bool) int {
	direct, err := cfg.DirectConfig()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return unusable
	}
	report, failed := examineDatabase(ctx, direct)
	switch {
	case report == nil:
	case !asJSON:
		report.write(stdout, hasColors(stdout))
	default:
		encoder := json.NewEncoder(stdout)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(report); err != nil {
			fmt.Fprintln(stderr, err)
			return wrong
		}
	}
	if failed != nil {
		fmt.Fprintln(stderr, failed)
		return notReached
	}
	if problems, _ := report.worst(); problems > 0 {
		return wrong
	}
	return fine
}

// hasColors reports whether out is a terminal whose user did not ask for no colors
// (https://no-color.org).
func hasColors(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun + "s"
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
