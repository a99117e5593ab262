package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// reader is the role that pgweb logs in as: a member of pg_read_all_data with a random password
// that is valid for one lease from the last renewal.
//
// The role itself cannot write. default_transaction_read_only would only be a default, which any
// session can change.
type reader struct {
	name, password string
	db             *database
	lease          time.Duration
	stop           context.CancelFunc
	renewing       sync.WaitGroup
}

// newReader creates the role and logs in once. It fails if the configured user may not create roles
// or grant pg_read_all_data, or if the role cannot log in, for example on a server that
// authenticates the operating system's user (peer).
func newReader(ctx context.Context, db *database, lease time.Duration, out io.Writer) (*reader, error) {
	r := &reader{name: "pgstudio_" + random(8), password: random(24), db: db, lease: lease}
	conn, err := db.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	sweep(ctx, conn, out)
	if err := r.create(ctx, conn); err != nil {
		return nil, err
	}
	if err := r.tryLogin(ctx); err != nil {
		if dropped := dropRole(context.WithoutCancel(ctx), conn, r.name); dropped != nil {
			fmt.Fprintf(out, "role %s could not be dropped: %v\n", r.name, dropped)
		}
		return nil, err
	}
	ctx, r.stop = context.WithCancel(ctx)
	r.renewing.Add(1)
	go func() {
		defer r.renewing.Done()
		r.renew(ctx, out)
	}()
	return r, nil
}

// notAllowed reports whether the server refused the role or its login for good.
func notAllowed(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	switch pg.Code {
	case "42501", "28000", "28P01": // insufficient_privilege, invalid_authorization_specification, invalid_password
		return true
	}
	return false
}

// create creates the role. The server never sees the password, because its log may contain all DDL.
func (r *reader) create(ctx context.Context, conn *pgx.Conn) error {
	secret, err := verifier(r.password)
	if err != nil {
		return err
	}
	until, err := r.validUntil(ctx, conn)
	if err != nil {
		return err
	}
	role := pgx.Identifier{r.name}.Sanitize()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, sql := range []string{
			// At most eight connections, because pgweb's pool has no limit.
			fmt.Sprintf("create role %s login connection limit 8 in role pg_read_all_data valid until '%s' "+
				"password '%s'", role, until, secret),
			fmt.Sprintf("comment on role %s is 'made by pgstudio for one session; may be dropped when it is not valid "+
				"any more'", role),
			// This is not the protection, but it gives clearer errors. A forgotten query or
			// transaction must not hold back vacuum.
			fmt.Sprintf("alter role %s set default_transaction_read_only = on", role),
			fmt.Sprintf("alter role %s set statement_timeout = '5min'", role),
			fmt.Sprintf("alter role %s set idle_in_transaction_session_timeout = '1min'", role),
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// validUntil uses the server's clock, because the server checks it.
func (r *reader) validUntil(ctx context.Context, conn *pgx.Conn) (until string, err error) {
	err = conn.QueryRow(ctx, `select to_char((clock_timestamp() + make_interval(secs => $1)) at time zone 'UTC',
		'YYYY-MM-DD HH24:MI:SS.US+00')`,
		r.lease.Seconds()).Scan(&until)
	return until, err
}

func (r *reader) tryLogin(ctx context.Context) error {
	config := r.db.config.Copy()
	config.User, config.Password = r.name, r.password
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// renew extends the lease until ctx ends. It retries a failed renewal, because the machine may have
// been asleep.
func (r *reader) renew(ctx context.Context, out io.Writer) {
	ticker := time.NewTicker(r.lease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := r.extend(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintf(out, "role %s could not be renewed: %v\n", r.name, err)
		}
	}
}

func (r *reader) extend(ctx context.Context) error {
	conn, err := r.db.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	until, err := r.validUntil(ctx, conn)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("alter role %s valid until '%s'", pgx.Identifier{r.name}.Sanitize(), until))
	return err
}

// drop ends the renewals and drops the role, with a limit of 10 s. Its sessions must have ended.
func (r *reader) drop() error {
	r.stop()
	r.renewing.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := r.db.connect(ctx)
	if err == nil {
		defer conn.Close(context.WithoutCancel(ctx))
		err = dropRole(ctx, conn, r.name)
	}
	if err != nil {
		return fmt.Errorf("role %s is left, valid for %v at most: %w; drop it with: drop role %s",
			r.name, r.lease, err, r.name)
	}
	return nil
}

// sweep drops the roles of killed sessions. A role that cannot be dropped does no harm and is left
// to the next session.
func sweep(ctx context.Context, conn *pgx.Conn, out io.Writer) {
	rows, err := conn.Query(ctx,
		`select rolname from pg_roles where rolname ~ '^pgstudio_[0-9a-f]{16}$' and rolvaliduntil < now()`)
	if err != nil {
		return
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return
	}
	for _, name := range names {
		if err := dropRole(ctx, conn, name); err != nil {
			fmt.Fprintf(out, "role %s of an earlier session could not be dropped: %v\n", name, err)
		}
	}
}

// dropRole drops a role. What the role owns goes to the current user, because on PostgreSQL 14 any
// role may create tables in public. Users other than superusers must be members of the role for
// that.
func dropRole(ctx context.Context, conn *pgx.Conn, name string) error {
	role := pgx.Identifier{name}.Sanitize()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, sql := range []string{
			"grant " + role + " to current_user",
			"reassign owned by " + role + " to current_user",
			"drop owned by " + role,
			"drop role " + role,
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// random returns n random bytes in hexadecimal.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
