package pgpool_test

import (
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgpool"
)

// A shown statement contains no value and no secret.
func TestShownStatements(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	config := database(t)
	config.MaxConns = 2
	pool := connect(t, config)
	conn := acquire(t, pool)
	long := strings.Repeat("x", 5000)
	for sql, want := range map[string]string{
		`select $1::int`: `select $1::int`,
		`create subscription s connection 'postgres://rep:hunter2@host/db' publication p`: `create subscription s connection '…' publication p`,
		`select dblink_connect('host=a password=hunter2')`:                                `select dblink_connect('…')`,
		`select set_config('app.token', 'hunter2', false)`:                                `select set_config('…', '…', false)`,
		`create role r password E'a\'hunter2'`:                                            `create role r password E'…'`,
		`select 'it''s hunter2', 7`:                                                       `select '…', 7`,
		`select 'a\'hunter2'`:                                                             `select '…'`,
		`do $$ begin raise 'hunter2'; end $$`:                                             `do '…'`,
		`do $body$ begin raise $x$hunter2$x$; end $body$`:                                 `do '…'`,
		`select a$b, $1 from "t-1" where x = $2 - 1 / 2`:                                  `select a$b, $1 from "t-1" where x = $2 - 1 / 2`,
		`select 1 /* postgres://u:hunter2@h/d x */`:                                       `select 1 /* … */`,
		"select 1 -- see https://hunter2\n, 2":                                            "select 1 /* … */\n, 2",
		`alter role r password "hunter2"`:                                                 `alter role r password '…'`,
		`select 'hunter2`:                                                                 `select '…'`,
		`select $q$hunter2`:                                                               `select '…'`,
		`select 1 /* postgres://u:hunter2`:                                                `select 1 /* … */`,
		`select '` + long + `', 'hunter2'`:                                                `select '…' …`,
		"-- it is\ralter role r password 'hunter2'":                                       "-- it is\ralter role r password '…'",
		`/* /* x */ it's */ alter role r password 'hunter2'`:                              `/* /* x */ it's */ alter role r password '…'`,
		`alter role r password hunter2`:                                                   `alter role r password '…'`,
		`alter role r password /* p */ "hunter2"`:                                         `alter role r password /* p */ '…'`,
		`alter subscription s connection "host=hunter2"`:                                  `alter subscription s connection '…'`,
		`set app.secret = hunter2; select token from t`:                                   `set app.secret = '…'; select token from t`,
		`set app.secret to hunter2`:                                                       `set app.secret to '…'`,
		`select 1 /* user=a password=hunter2 */`:                                          `select 1 /* … */`,
		"-- name: PageByToken :one\nselect 1":                                             "/* … */\nselect 1",
		"-- name: PageByID :one\nselect 1":                                                "-- name: PageByID :one\nselect 1",
		`select "password" from users where token = $1`:                                   `select "password" from users where token = $1`,
		``: ``,
	} {
		// The statement is shown whether it fails or not.
		_, _ = conn.Exec(t.Context(), sql)
		if conn.Conn().IsClosed() {
			t.Fatalf("%q closed the connection", sql)
		}
		holder := pgpool.Holders(pool)[0]
		if holder.SQL != want {
			t.Errorf("%.60q is shown as %q, want %q", sql, holder.SQL, want)
		}
		if strings.Contains(holder.SQL+holder.String(), secret) {
			t.Errorf("%.60q is shown with the secret: %q", sql, holder)
		}
	}
}
