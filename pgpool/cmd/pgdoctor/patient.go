package main

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgconfig"
)

// patient is one database that is examined, through one connection.
type patient struct {
	conn     *pgx.Conn
	cfg      *pgx.ConnConfig
	settings pgconfig.Config // what the URL sets

	pooled      bool // PgBouncer or its like is in between
	standby     bool
	readOnly    bool
	superuser   bool
	user        string
	version     string
	number      int
	available   int64  // connections that this user may have
	availableBy string // what limits them
	inUse       int64
}

// isClient is true for sessions of clients. backend_type is NULL for other roles' sessions, unless
// the role may read all statistics.
const isClient = `(backend_type = 'client backend'
	or backend_type is null and datid is not null and usesysid is not null)`

// ask uses the protocol without prepared statements, because PgBouncer may be in between.
func (p *patient) ask(ctx context.Context) error {
	var pid uint32
	var server, reserved, user, database int64
	err := p.conn.QueryRow(ctx, `
		select pg_backend_pid(), pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', r.rolsuper,
			current_user,
			current_setting('server_version'), current_setting('server_version_num')::int,
			current_setting('max_connections')::int,
			current_setting('superuser_reserved_connections')::int
			+ coalesce(current_setting('reserved_connections', true), '0')::int,
			r.rolconnlimit, d.datconnlimit,
			(select count(*) from pg_stat_activity where `+isClient+`)
		from pg_roles r, pg_database d where r.rolname = current_user and d.datname = current_database()`,
		pgx.QueryExecModeSimpleProtocol,
	).Scan(&pid, &p.standby, &p.readOnly, &p.superuser, &p.user, &p.version, &p.number, &server, &reserved,
		&user, &database, &p.inUse)
	if err != nil {
		return err
	}
	p.pooled = pid != p.conn.PgConn().PID()
	p.available, p.availableBy = server-reserved, "max_connections without the reserved ones"
	if user >= 0 && user < p.available {
		p.available, p.availableBy = user, "the user's CONNECTION LIMIT"
	}
	if database >= 0 && database < p.available {
		p.available, p.availableBy = database, "the database's CONNECTION LIMIT"
	}
	return nil
}

// setting returns the value of a setting, and the value that it has where wanted is in effect: the
// server writes both, so that '30000' and '30s' are the same.
func (p *patient) setting(ctx context.Context, name, value string) (got, wanted string, err error) {
	if err := p.conn.QueryRow(ctx, `select coalesce(current_setting($1, true), '')`, pgx.QueryExecModeSimpleProtocol,
		name).Scan(&got); err != nil {
		return "", "", err
	}
	err = p.conn.QueryRow(ctx, `select set_config($1, $2, true)`, pgx.QueryExecModeSimpleProtocol,
		name, value).Scan(&wanted) // until the end of the statement
	var refused *pgconn.PgError
	if errors.As(err, &refused) { // nor would it have been accepted when connecting: it never got here
		return got, value, nil
	}
	return got, wanted, err
}

// skew returns how far the server's clock is ahead, from the fastest of a few round trips.
func (p *patient) skew(ctx context.Context) (time.Duration, error) {
	var best, skew time.Duration
	for i := range 3 {
		var server time.Time
		began := time.Now()
		if err := p.conn.QueryRow(ctx, `select clock_timestamp()`,
			pgx.QueryExecModeSimpleProtocol).Scan(&server); err != nil {
			return 0, err
		}
		if took := time.Since(began); i == 0 || took < best {
			best, skew = took, server.Sub(began.Add(took/2))
		}
	}
	return skew, nil
}
