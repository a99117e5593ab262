package schema

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/internal/readonly"
)

// Dump is a schema as pg_dump writes it, cut into objects, in an order in which they can be
// created.
type Dump struct {
	Objects []Object

	catalog *catalog // read when something differs
}

// readBoth reads both sides with the same pg_dump, because two versions may write the same object
// differently.
func readBoth(ctx context.Context, from, to Database, opts Options) (fromDump, toDump *Dump, err error) {
	if from.Dump != nil && to.Dump != nil {
		return from.Dump, to.Dump, nil
	}
	fromSide, err := describe(ctx, from, opts)
	if err != nil {
		return nil, nil, err
	}
	toSide, err := describe(ctx, to, opts)
	if err != nil {
		return nil, nil, err
	}
	program, err := findPgDump(ctx, max(fromSide.major, toSide.major))
	if err != nil {
		return nil, nil, err
	}
	if fromDump = from.Dump; fromDump == nil {
		if fromDump, err = fromSide.dump(ctx, program, opts); err != nil {
			return nil, nil, err
		}
	}
	if toDump = to.Dump; toDump == nil {
		if toDump, err = toSide.dump(ctx, program, opts); err != nil {
			return nil, nil, err
		}
	}
	return fromDump, toDump, nil
}

// Read reads one database. It returns a *[NoProgramError] if there is no pg_dump. Compare the
// result only with databases on the same server, because two versions of pg_dump may write the same
// object differently.
func Read(ctx context.Context, db Database, opts Options) (*Dump, error) {
	s, err := describe(ctx, db, opts)
	if err != nil {
		return nil, err
	}
	program, err := findPgDump(ctx, s.major)
	if err != nil {
		return nil, err
	}
	return s.dump(ctx, program, opts)
}

// side is a database with the settings that its dump is read with.
type side struct {
	config    *pgx.ConnConfig
	major     int
	migrators []string
}

func describe(ctx context.Context, db Database, opts Options) (side, error) {
	s := side{config: db.Config, migrators: db.Migrators}
	conn, err := pgx.ConnectConfig(ctx, readOnly(db.Config))
	if err != nil {
		return s, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	schema, table := opts.versionTable()
	var owner string
	err = conn.QueryRow(ctx, `select current_setting('server_version_num')::int / 10000,
		coalesce((select pg_get_userbyid(relowner) from pg_class c join pg_namespace n on n.oid = relnamespace
			where nspname = $1 and relname = $2), current_user)`, schema, table).Scan(&s.major, &owner)
	if err != nil {
		return s, fmt.Errorf("read the server's version: %w", err)
	}
	s.migrators = append(slices.Clone(s.migrators), owner)
	return s, nil
}

func readOnly(cfg *pgx.ConnConfig) *pgx.ConnConfig {
	cfg = cfg.Copy()
	if cfg.RuntimeParams == nil {
		cfg.RuntimeParams = map[string]string{}
	}
	readonly.Session(cfg)
	// Names are written in full then, whatever the role's own path is.
	cfg.RuntimeParams["search_path"] = ""
	cfg.RuntimeParams["jit"] = "off" // compiling costs more than queries of a catalog take
	return cfg
}

// lockWait is how long pg_dump waits for a table that a migration has locked. It takes the weakest
// lock itself.
const lockWait = "10s"

func (s side) dump(ctx context.Context, program string, opts Options) (*Dump, error) {
	schema, table := opts.versionTable()
	args := []string{
		"--format=custom", "--exclude-table=" + pattern(schema) + "." + pattern(table),
		"--exclude-schema=" + pattern(opts.historySchema()),
	}
	for _, name := range opts.IgnoreSchemas {
		args = append(args, "--exclude-schema="+pattern(name))
	}
	for _, name := range opts.IgnoreTables {
		schema, table := splitName(name)
		args = append(args, "--exclude-table="+pattern(schema)+"."+pattern(table))
	}
	data, err := pgDump(ctx, program, s.config, args...)
	if err != nil {
		return nil, err
	}
	entries, err := readArchive(data)
	if err != nil {
		return nil, err
	}
	return &Dump{
		Objects: objects(
			entries,
			normalizer{migrators: s.migrators, ignored: opts.IgnoreRoles, noOwners: opts.NoOwners},
		),
	}, nil
}

// pattern quotes a name for pg_dump's patterns, in which ., * and ? mean something.
func pattern(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func pgDump(ctx context.Context, program string, cfg *pgx.ConnConfig, args ...string) ([]byte, error) {
	// Subscriptions and, where objects are read, user mappings are left out: they hold passwords
	// and belong to one server.
	args = append([]string{
		"--schema-only", "--no-password", "--no-tablespaces", "--no-subscriptions", "--no-security-labels",
		"--lock-wait-timeout=" + lockWait,
	}, args...)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = libpqEnvironment(cfg)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		message := strings.TrimSpace(stderr.String())
		if cfg.Password != "" { // libpq does not print it; a server's message might
			message = strings.ReplaceAll(message, cfg.Password, "****")
		}
		return nil, fmt.Errorf("%w: %s", errDump, strings.ReplaceAll(message, "\n", "; "))
	}
	return stdout.Bytes(), nil
}

var errDump = errors.New("pg_dump failed; its role needs the right to read every table")

// Pull writes the schema of a database as SQL that makes it again: pg_dump's, without owners, the
// version table and the history. It returns a *[NoProgramError] where there is no pg_dump.
func Pull(ctx context.Context, w io.Writer, cfg *pgx.ConnConfig, opts Options) error {
	opts.NoOwners = true
	dump, err := Read(ctx, Database{Config: cfg}, opts)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, dump.script(func(o Object) bool { return true }))
	return err
}

// script returns SQL that makes the objects for which keep returns true, in an order in which they
// can be made.
func (d *Dump) script(keep func(Object) bool) string {
	var b strings.Builder
	// A function may come before the tables that its body names.
	b.WriteString("SET check_function_bodies = false;\n")
	for _, o := range d.Objects {
		if !keep(o) {
			continue
		}
		b.WriteString("\n")
		if o.AccessMethod != "" {
			b.WriteString("SET default_table_access_method = " + quoted(o.AccessMethod) + ";\n")
		}
		for _, sql := range o.SQL {
			b.WriteString(sql + ";\n")
		}
		if o.AccessMethod != "" {
			b.WriteString("RESET default_table_access_method;\n")
		}
	}
	return b.String()
}
