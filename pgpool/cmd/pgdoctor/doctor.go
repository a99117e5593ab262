package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/internal/dial"
)

// doctor examines the databases of one configuration.
type doctor struct {
	out       io.Writer
	cfg       pgconfig.Config
	instances int

	problems, warnings, unreached int
}

func (d *doctor) say(verdict verdict, what, format string, args ...any) {
	switch verdict {
	case bad:
		d.problems++
	case warn:
		d.warnings++
	}
	fmt.Fprintf(d.out, "  %s  %-16s  %s\n", paint(verdict, hasColors(d.out)), what,
		visible(fmt.Sprintf(format, args...)))
}

// examine looks at every database that the configuration names. Its error is the configuration's.
func (d *doctor) examine(ctx context.Context) error {
	pool, err := d.cfg.PoolConfig()
	if err != nil {
		return err
	}
	d.database(ctx, "Database", d.cfg, pool.ConnConfig, d.primary)
	if slices.ContainsFunc(d.cfg.Report(), func(s pgconfig.Setting) bool {
		return strings.HasSuffix(s.Key, "DIRECT_DATABASE_URL") && s.Value != ""
	}) {
		direct, err := d.cfg.DirectConfig()
		if err != nil {
			return err
		}
		d.database(ctx, "Direct connection", d.cfg, direct, d.direct)
	}
	for i, replica := range d.cfg.Replicas() {
		config, err := replica.PoolConfig()
		if err != nil {
			return err
		}
		d.database(ctx, "Replica "+strconv.Itoa(i+1), replica, config.ConnConfig, d.replica)
	}
	return nil
}

// database connects and examines what it is connected to. settings come from that URL.
func (d *doctor) database(
	ctx context.Context, title string, settings pgconfig.Config, cfg *pgx.ConnConfig,
	examine func(context.Context, *patient) error,
) {
	fmt.Fprintf(d.out, "\n%s\n", title)
	began := time.Now()
	conn, err := dial.Connect(ctx, cfg, nil)
	if name := dial.RefusedSetting(err); name != "" {
		d.say("WRONG", "PgBouncer",
			"does not take the setting %s: set DATABASE_PGBOUNCER=true, and the limits on the role (ALTER ROLE … "+
				"SET …)", name)
		cfg = cfg.Copy()
		cfg.RuntimeParams = map[string]string{}
		conn, err = dial.Connect(ctx, cfg, nil)
	}
	if err != nil {
		d.unreached++
		d.say("FAIL", "connection", "%s", (&pgpool.StartupError{Attempts: 1, Err: err}).Error())
		return
	}
	defer dial.Close(ctx, conn)
	d.say("ok", "connection", "%s in %s", address(conn), time.Since(began).Round(100*time.Microsecond))
	p := &patient{conn: conn, cfg: cfg, settings: settings}
	err = p.ask(ctx)
	if err == nil {
		err = examine(ctx, p)
	}
	if err != nil {
		d.unreached++
		d.say("FAIL", "answer", "%s", (&pgpool.StartupError{Attempts: 1, Err: err}).Error())
	}
}

func address(conn *pgx.Conn) string {
	if a := conn.PgConn().Conn().RemoteAddr(); a.Network() != "unix" {
		return a.String()
	}
	return "socket in " + conn.Config().Host
}

func (d *doctor) primary(ctx context.Context, p *patient) error {
	d.version(p)
	d.encryption(p)
	d.role(p)
	d.pooler(p)
	if err := d.settings(ctx, p); err != nil {
		return err
	}
	d.budget(p)
	return d.clock(ctx, p)
}

func (d *doctor) pooler(p *patient) {
	switch {
	case p.pooled && !p.settings.PgBouncer:
		d.say("WRONG", "PgBouncer",
			"is in front of the database: set DATABASE_PGBOUNCER=true, and DIRECT_DATABASE_URL for migrations "+
				"and LISTEN")
	case p.pooled:
		d.say("ok", "PgBouncer", "is in front of the database, as configured")
	case p.settings.PgBouncer:
		d.say("warn", "PgBouncer",
			"is configured but not there: without DATABASE_PGBOUNCER statements are prepared and limits set")
	}
}

func (d *doctor) direct(_ context.Context, p *patient) error {
	d.version(p)
	d.encryption(p)
	if p.pooled {
		d.say("WRONG", "PgBouncer", "is in front of the database: DIRECT_DATABASE_URL must lead to the server itself")
	}
	return nil
}

func (d *doctor) replica(ctx context.Context, p *patient) error {
	d.version(p)
	d.encryption(p)
	if p.standby {
		d.say("ok", "role", "standby")
	} else {
		d.say("warn", "role", "primary, where a replica is expected")
	}
	d.pooler(p)
	return d.settings(ctx, p)
}

// oldest is the oldest version that still gets fixes, or did lately.
const oldest = 140000

func (d *doctor) version(p *patient) {
	if p.number < oldest {
		d.say("WRONG", "version", "PostgreSQL %s: upgrade to 14 or later", p.version)
		return
	}
	d.say("ok", "version", "PostgreSQL %s", p.version)
}

func (d *doctor) encryption(p *patient) {
	socket := p.conn.PgConn().Conn()
	if secured, ok := socket.(*tls.Conn); ok {
		state := secured.ConnectionState()
		if len(state.VerifiedChains) == 0 {
			// verify-ca and require with a root verify by a callback, which leaves no chain: the
			// configuration knows.
			if config := p.conn.Config().TLSConfig; config == nil || config.VerifyPeerCertificate == nil &&
				config.VerifyConnection == nil {
				d.say("warn", "TLS", "%s, but the server is not verified: sslmode=verify-full does",
					tls.VersionName(state.Version))
				return
			}
		}
		d.say("ok", "TLS", "%s, the server is verified", tls.VersionName(state.Version))
		return
	}
	host, _, err := net.SplitHostPort(socket.RemoteAddr().String())
	if ip := net.ParseIP(host); err == nil && (ip == nil || !ip.IsLoopback()) {
		d.say("warn", "TLS", "off: passwords and data cross the network readable")
		return
	}
	d.say("ok", "TLS", "off, on this machine")
}

func (d *doctor) role(p *patient) {
	what := "primary"
	if p.standby {
		what = "standby"
	}
	if p.readOnly {
		d.say("warn", "role", "%s, read-only: writes fail here", what)
	} else {
		d.say("ok", "role", "%s", what)
	}
	if p.superuser {
		d.say("warn", "user", "%s is a superuser: a program needs one of its own with less", p.user)
	} else {
		d.say("ok", "user", "%s", p.user)
	}
}

func (d *doctor) settings(ctx context.Context, p *patient) error {
	want := maps.Clone(p.cfg.RuntimeParams)
	delete(want, "options")
	if p.pooled {
		for i, limit := range []time.Duration{
			p.settings.StatementTimeout, p.settings.LockTimeout, p.settings.IdleInTransactionTimeout,
		} {
			if limit > 0 {
				want[dial.Limits[i]] = strconv.FormatInt(limit.Milliseconds(), 10)
			}
		}
	}
	names := slices.Sorted(maps.Keys(want))
	missing := 0
	for _, name := range names {
		got, wanted, err := p.setting(ctx, name, want[name])
		if err != nil {
			return err
		}
		if got == wanted {
			continue
		}
		missing++
		hint := "something between here and the server takes it out"
		if p.pooled {
			hint = "PgBouncer takes it out: set it on the role, ALTER ROLE " + pgx.Identifier{p.user}.Sanitize() +
				" SET " + name + " = '" + wanted + "'"
		}
		d.say("WRONG", "setting", "%s is %q and not %q: %s", name, got, wanted, hint)
	}
	if missing == 0 {
		d.say("ok", "settings", "%s in effect: %s", count(len(names), "setting"), strings.Join(names, ", "))
	}
	return nil
}

// budget compares what all instances may take with what the server has.
func (d *doctor) budget(p *patient) {
	want := int64(d.cfg.MaxConns) * int64(d.instances)
	text := fmt.Sprintf("%d × %s = %d of %d", d.cfg.MaxConns, count(d.instances, "instance"), want, p.available)
	switch {
	case p.pooled:
		d.say("ok", "connections", "%d × %s = %d of PgBouncer's max_client_conn", d.cfg.MaxConns,
			count(d.instances, "instance"), want)
	case want > p.available:
		d.say("WRONG", "connections", "%s (%s): lower DATABASE_POOL_MAX_CONNS, or raise that", text, p.availableBy)
	case want*10 > p.available*8: // others need some: migrations, LISTEN, health checks, a person
		d.say("warn", "connections", "%s (%s): little is left for others", text, p.availableBy)
	default:
		d.say("ok", "connections", "%s (%s), %d in use now", text, p.availableBy, p.inUse)
	}
}

// maxSkew is the difference at which tokens and timestamps of two machines visibly disagree.
const maxSkew = time.Second

func (d *doctor) clock(ctx context.Context, p *patient) error {
	skew, err := p.skew(ctx)
	if err != nil {
		return err
	}
	if skew.Abs() > maxSkew {
		d.say("warn", "clock", "the server's is %s ahead of this machine's: check NTP on both",
			skew.Round(time.Millisecond))
		return nil
	}
	d.say("ok", "clock", "the server's differs by %s", skew.Abs().Round(time.Millisecond))
	return nil
}
