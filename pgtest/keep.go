package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// keepServer is how long a throw-away server stays up for the sake of a kept database.
	keepServer = time.Hour
	// keepDatabase is how long a kept database is spared by sweeps, on a server that stays.
	keepDatabase = 24 * time.Hour

	keptPrefix = "pgtest kept "
)

// keeps reports whether failed tests keep their databases.
func (o options) keeps() bool {
	on, _ := strconv.ParseBool(os.Getenv("PGTEST_KEEP")) // what is no truth value is no
	return o.keep || on
}

// keep marks the database of a failed test, so that no sweep takes it before its time, and says how
// to open it.
func (db *database) keep(t TB) error {
	err := db.host.control(context.WithoutCancel(t.Context()), func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, comment(db.name, keptPrefix+time.Now().UTC().Format(time.RFC3339)+" "+t.Name()))
		return err
	})
	if err != nil {
		return err
	}
	until, kept := keepDatabase, "its database is"
	if db.host.server.Ephemeral() {
		if err := db.host.server.Keep(keepServer); err != nil {
			return err
		}
		until, kept = keepServer, "its database and the server are"
	}
	t.Logf("pgtest: the test failed; %s kept for %s: %s", kept, until, db.host.psql(db.name))
	return nil
}

// psql is the command that opens the database, as the server's administrator and without a
// password.
func (h *host) psql(name string) string {
	u, err := url.Parse(h.server.DatabaseURL(name))
	if err != nil {
		return "psql -d " + name
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	parameters := u.Query()
	parameters.Del("password")
	parameters.Del("sslpassword")
	u.RawQuery = encodeQuery(parameters)
	return "psql '" + strings.ReplaceAll(u.String(), "'", "%27") + "'"
}

// KeptDatabase is one that a failed test left on purpose.
type KeptDatabase struct {
	Name  string
	Test  string    // the test's name
	Since time.Time // when the test ended
	Psql  string    // the command that opens it, without a password
}

func parseKept(mark string) (since time.Time, test string, ok bool) {
	rest, ok := strings.CutPrefix(mark, keptPrefix)
	if !ok {
		return time.Time{}, "", false
	}
	when, test, _ := strings.Cut(rest, " ")
	since, err := time.Parse(time.RFC3339, when)
	return since, test, err == nil
}

// Kept lists the databases that failed tests left on the server that tests would use now. It starts
// a throw-away server if none runs.
func Kept(ctx context.Context) ([]KeptDatabase, error) {
	var kept []KeptDatabase
	err := withHost(ctx, func(h *host) error {
		return h.drops.with(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			list, _, err := h.findObjects(ctx, conn)
			for _, o := range list {
				if since, test, ok := parseKept(o.Comment); ok {
					kept = append(kept, KeptDatabase{Name: o.Name, Test: test, Since: since, Psql: h.psql(o.Name)})
				}
			}
			return err
		})
	})
	return kept, err
}

func withHost(ctx context.Context, fn func(*host) error) error {
	h, err := newHost(ctx, nil)
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	defer h.close()
	if err := fn(h); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	return nil
}
