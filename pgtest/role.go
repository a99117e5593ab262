package pgtest

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/peterldowns/pgtestdb"
)

// roles are the two roles behind the databases of a project's tests.
//
// owner owns the databases and what the migrations make. It lasts as long as the templates and
// cannot log in. Tests connect as user, a member of owner. Each process makes its own user with a
// password that only it knows, so a test that changes its role affects no other process.
type roles struct {
	owner, user  string
	superuser    bool
	password     string // of user; "" on a throw-away server, which trusts everybody who can enter its folder
	capabilities string
	attributes   string // of user
	state        string // of user, when it was as it should be
}

const (
	ownerMark = "pgtest owner of " // followed by the project's folder
	userMark  = "pgtest user"
)

// rolesFor makes the roles that the process does not have yet.
func (h *host) rolesFor(ctx context.Context, superuser bool) (*roles, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.roles[superuser]; r != nil {
		return r, nil
	}
	r := &roles{
		owner:        "pgtest_" + h.project.id,
		user:         "pgtest_" + h.project.id + "_" + h.lease.Token(),
		superuser:    superuser,
		capabilities: pgtestdb.DefaultRoleCapabilities,
	}
	if superuser {
		r.owner, r.user, r.capabilities = r.owner+"_su", r.user+"_su", "superuser nocreatedb nocreaterole"
	}
	secret := "null"
	if !h.server.Ephemeral() {
		r.password = rand.Text()
		secret = literal(scramVerifier(r.password))
	}
	r.attributes = "login " + r.capabilities + " inherit noreplication nobypassrls connection limit -1 " +
		"valid until 'infinity' password " + secret
	err := h.control(ctx, func(ctx context.Context, conn *pgx.Conn) error { return r.make(ctx, conn, h.project.dir) })
	if err != nil {
		return nil, fmt.Errorf("make the role %s: %w", r.user, err)
	}
	h.roles[superuser] = r
	return r, nil
}

func (r *roles) make(ctx context.Context, conn *pgx.Conn, project string) error {
	if err := r.makeOwner(ctx, conn, project); err != nil {
		return err
	}
	user := quoted(r.user)
	// In one message, so in one transaction.
	err := execEach(ctx, conn, "create role "+user+" "+r.attributes+" in role "+quoted(r.owner)+
		"; comment on role "+user+" is "+literal(userMark))
	if err == nil {
		r.state, err = r.readState(ctx, conn)
	}
	return err
}

// readState returns what differs after a change of the user: every change makes a new row version.
func (r *roles) readState(ctx context.Context, conn *pgx.Conn) (state string, err error) {
	err = conn.QueryRow(ctx, `select concat(xmin, (select setconfig from pg_db_role_setting
			where setrole = u.oid and setdatabase = 0))
		from pg_authid u where rolname = $1`, r.user).Scan(&state)
	return state, err
}

func (r *roles) makeOwner(ctx context.Context, conn *pgx.Conn, project string) error {
	var exists, fits bool
	look := func() error {
		return conn.QueryRow(ctx, `select count(*) > 0, coalesce(bool_and(not rolcanlogin and rolsuper = $2
				and shobj_description(oid, 'pg_authid') is not distinct from $3), false)
			from pg_roles where rolname = $1`, r.owner, r.superuser, ownerMark+project).Scan(&exists, &fits)
	}
	if err := look(); err != nil || fits {
		return err
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Two processes that alter one role at the same time fail with "tuple concurrently
		// updated".
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtext($1))", r.owner); err != nil {
			return err
		}
		if err := look(); err != nil || fits {
			return err
		}
		owner := quoted(r.owner)
		verb := "create"
		if exists {
			verb = "alter"
		}
		return execEach(ctx, conn, verb+" role "+owner+" nologin "+r.capabilities,
			"comment on role "+owner+" is "+literal(ownerMark+project))
	})
}

// restore undoes what an earlier test of this process did to the user. It looks first: the server
// takes milliseconds to set a password. The caller has the lease's session.
func (r *roles) restore(ctx context.Context, conn *pgx.Conn) error {
	state, err := r.readState(ctx, conn)
	if err != nil || state == r.state {
		return err
	}
	user := quoted(r.user)
	err = execEach(ctx, conn, "alter role "+user+" "+r.attributes+"; alter role "+user+" reset all")
	if err == nil {
		r.state, err = r.readState(ctx, conn)
	}
	return err
}

// session returns how to connect to a database: as the server's administrator, or as the user in
// the role of the owner, so that what it makes belongs to that.
func (h *host) session(database string, r *roles) *pgx.ConnConfig {
	cfg := h.base.Copy()
	if database != "" {
		cfg.Database = database
	}
	if r != nil {
		cfg.User, cfg.Password = r.user, r.password
		cfg.RuntimeParams["options"] = strings.TrimSpace(cfg.RuntimeParams["options"] + " -c role=" + r.owner)
	} else {
		maps.Copy(cfg.RuntimeParams, ownSettings)
	}
	return cfg
}

// ownSettings win over what somebody has set for the administrator's role or for the database.
var ownSettings = map[string]string{
	"role": "none", "search_path": "pg_catalog", "default_transaction_read_only": "off", "statement_timeout": "0",
	"lock_timeout": "0", "idle_session_timeout": "0", "idle_in_transaction_session_timeout": "0",
}

// scramVerifier is what the server would make of the password, so that no log of statements has the
// password itself; see RFC 5803.
func scramVerifier(password string) string {
	const iterations = 4096
	salt := make([]byte, 16)
	rand.Read(salt)                                                              // never fails
	salted, _ := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size) // fails for odd lengths only
	sign := func(text string) []byte {
		m := hmac.New(sha256.New, salted)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	stored := sha256.Sum256(sign("Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(stored[:]),
		encode(sign("Server Key")))
}
