package pgtest

import "github.com/jackc/pgx/v5/pgxpool"

// Migrate applies the migrations that the database of pool lacks, with the backfills that they
// require: for the test of a data migration. Make the pool by [New] with [Version], insert rows as
// they were, call Migrate, and look at the rows. It takes the options [Migrations], [Backfills] and
// Version, and ignores others. A failure fails the test.
//
//	pool := pgtest.New(t, pgtest.Version(11))
//	pool.Exec(ctx, "insert into pages (title) values ('Home')")
//	pgtest.Migrate(t, pool)
func Migrate(t TB, pool *pgxpool.Pool, opts ...Option) {
	t.Helper()
	m, err := newOptions(opts).newMigrator()
	if err == nil {
		err = m.up(t.Context(), pool.Config().ConnConfig)
	}
	if err != nil {
		t.Fatalf("pgtest: migrate: %v", err)
	}
}
