// Package generate runs sqlc on a migrated database. It keeps checksums, so that a machine without
// sqlc notices stale code, and tries the queries of another revision on this revision's schema.
package generate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// VetVariable names the database for sqlc vet: sqlc.yaml has it as uri: ${SQLC_VET_DATABASE_URL}.
const VetVariable = "SQLC_VET_DATABASE_URL"

// Options configures Run and Check. Config is required.
type Options struct {
	// Config is the path of sqlc.yaml.
	Config string

	// Shadow makes the database for sqlc vet. Its Migrations are the folder.
	Shadow shadow.Options

	// Output gets sqlc's output. Defaults to discarding it.
	Output io.Writer
}

// ErrNoSQLC is returned if sqlc is not installed.
var ErrNoSQLC = errors.New("sqlc was not found: go get -tool github.com/sqlc-dev/sqlc/cmd/sqlc, " +
	"in this module or in one named tools, or put sqlc into PATH")

// FindSQLC returns the path of sqlc: a tool of the module at dir, a tool of a module in a folder
// tools in dir or above it, or a program in PATH. It returns ErrNoSQLC if there is none. Building a
// tool for the first time takes minutes.
func FindSQLC(ctx context.Context, dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		for _, module := range []string{at, filepath.Join(at, "tools")} {
			if path := toolOf(ctx, module); path != "" {
				return path, nil
			}
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if path, err := exec.LookPath("sqlc"); err == nil {
		return path, nil
	}
	return "", ErrNoSQLC
}

// toolOf returns the executable of the module's tool, or "".
func toolOf(ctx context.Context, module string) string {
	text, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil || !bytes.Contains(text, []byte("github.com/sqlc-dev/sqlc/cmd/sqlc")) {
		return ""
	}
	cmd := exec.CommandContext(ctx, "go", "tool", "-n", "sqlc")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0") // with cgo the build takes minutes more
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// Run generates, vets the queries on a shadow database, and writes the checksums. It blocks until
// sqlc is done.
func Run(ctx context.Context, opts Options) error {
	sqlc, err := FindSQLC(ctx, filepath.Dir(opts.Config))
	if err != nil {
		return err
	}
	if err := opts.run(ctx, sqlc, "", "generate"); err != nil {
		return err
	}
	if err := opts.vet(ctx, sqlc); err != nil {
		return err
	}
	sums, err := readSums(opts.Config)
	if err != nil {
		return err
	}
	return os.WriteFile(sumFile(opts.Config), []byte(sums.String()), 0o644)
}

// StaleError says which files changed since the code was generated.
type StaleError struct{ Changed []string }

func (e *StaleError) Error() string {
	return "the generated code may be stale: run pgmigrate-dev generate and commit what it writes; changed since:\n  " +
		strings.Join(e.Changed, "\n  ")
}

// Check returns an error if the generated code does not match the queries and migrations: a
// *[StaleError] if a file changed since Run. If sqlc is installed, Check also compares sqlc's
// output and vets the queries; withSQLC says whether it did.
func Check(ctx context.Context, opts Options) (withSQLC bool, err error) {
	if err := CheckSums(opts.Config); err != nil {
		return false, err
	}
	sqlc, err := FindSQLC(ctx, filepath.Dir(opts.Config))
	if errors.Is(err, ErrNoSQLC) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := opts.run(ctx, sqlc, "", "diff"); err != nil {
		return true, err
	}
	return true, opts.vet(ctx, sqlc)
}

// CheckSums returns a *[StaleError] if a file changed since Run. It needs neither sqlc nor a
// database.
func CheckSums(config string) error {
	sums, err := readSums(config)
	if err != nil {
		return err
	}
	want, err := os.ReadFile(sumFile(config))
	if err != nil {
		return fmt.Errorf("%w: run pgmigrate-dev generate, and commit the file", err)
	}
	if changed := sums.changed(string(want)); len(changed) > 0 {
		return &StaleError{changed}
	}
	return nil
}

// vet prepares each query on a private shadow database.
func (o Options) vet(ctx context.Context, sqlc string) error {
	db, err := shadow.Open(ctx, o.Shadow)
	if err != nil {
		return err
	}
	defer db.Close() // the next shadow sweeps leftovers
	return o.run(ctx, sqlc, address(db.Config()), "vet")
}

func (o Options) run(ctx context.Context, sqlc, database, command string) error {
	cmd := exec.CommandContext(ctx, sqlc, command, "--file", filepath.Base(o.Config))
	cmd.Dir = filepath.Dir(o.Config)
	cmd.Env = append(os.Environ(), VetVariable+"="+database, "SQLCDEBUG=")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("sqlc %s: %w\n%s", command, err, strings.TrimSpace(out.String()))
	}
	if o.Output != nil {
		_, _ = o.Output.Write(out.Bytes())
	}
	return nil
}

// address writes a configuration as a URL, for the environment of a child process.
func address(cfg *pgx.ConnConfig) string {
	u := url.URL{Scheme: "postgres", User: url.User(cfg.User), Path: "/" + cfg.Database}
	if cfg.Password != "" {
		u.User = url.UserPassword(cfg.User, cfg.Password)
	}
	port := strconv.Itoa(int(cfg.Port))
	if !strings.HasPrefix(cfg.Host, "/") {
		u.Host = cfg.Host + ":" + port
		if cfg.TLSConfig == nil {
			u.RawQuery = "sslmode=disable"
		}
		return u.String()
	}
	u.RawQuery = "host=" + url.PathEscape(cfg.Host) + "&port=" + port
	return u.String()
}
