package chaos_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/lab/cluster/chaos"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// A server that forgets one acknowledged transfer, does another one twice and loses an event must
// not get through: the whole round, and not only the judge, is able to fail.
func TestLossesAreSeen(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	round, err := chaos.Run(t.Context(), chaos.System{
		Environ: map[string]string{"DATABASE_URL": url},
		Nodes:   []string{url},
		Primary: func(context.Context) (string, error) { return url, nil },
	}, chaos.Fault{Name: "falsify", Inject: func(ctx context.Context) error { return falsify(ctx, url) }},
		chaos.Options{Log: t.Output(), Calm: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", round)
	all := strings.Join(round.Broken, "\n")
	for _, want := range []string{
		"pgtx: 1 acknowledged and lost", "pgtx: 3 accounts with a wrong balance", // two accounts, and the sum
		"pgtx, key: 1 applied twice", "1 acknowledged events are lost",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("nobody said %q, but: %s", want, all)
		}
	}
}

// falsify changes what is written down, as a server that lost it would.
func falsify(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var schema string
	if err := conn.QueryRow(ctx,
		`select nspname from pg_namespace where nspname like 'chaos\_%'`).Scan(&schema); err != nil {
		return err
	}
	name := func(table string) string { return pgx.Identifier{schema, table}.Sanitize() }
	for there := false; !there; time.Sleep(10 * time.Millisecond) { // an event
		if err := conn.QueryRow(ctx,
			`select exists (select from `+name("events")+` where n = 1)`).Scan(&there); err != nil {
			return err
		}
	}
	lines, accounts := name("pgtx lines"), name("pgtx accounts")
	for _, sql := range []string{
		// Of different accounts, so that both are wrong afterwards; and one of them for good.
		`with gone as (delete from ` + lines + ` where (transfer, attempt) =
			(select transfer, attempt from ` + lines +
			` where source <> target order by transfer limit 1) returning source)
			update ` + accounts + ` set balance = balance - 1 where id = (select source from gone)`,
		`insert into ` + name("pgtx, key lines") + ` select transfer, attempt + 100, source, target, amount from ` +
			name("pgtx, key lines") + ` order by transfer limit 1`,
		`delete from ` + name("events") + ` where n = 1`,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}
