package pgmigrate_test

import (
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// Connecting is included on both sides: it is part of every start of a service.

func BenchmarkTwentyMigrations(b *testing.B) {
	compare(b, tables(20), empty)
}

func BenchmarkTwentyMigrationsAcrossZones(b *testing.B) {
	compareAcross(b, tables(20), empty, time.Millisecond)
}

// Small enough for drop schema to get its locks at once.
func BenchmarkManyMigrations(b *testing.B) {
	for _, n := range []int{100, 200, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			compare(b, inserts(n), empty)
		})
	}
}

const empty = "drop schema public cascade; create schema public; drop schema if exists pgmigrate cascade"

// tables returns n migrations of ten statements.
func tables(n int) fs.FS {
	var pairs []string
	for i := range n {
		sql := fmt.Sprintf("create table t%d (id int primary key, title text);\n", i)
		for n := range 9 {
			sql += fmt.Sprintf("insert into t%d values (%d, 'a title');\n", i, n)
		}
		pairs = append(pairs, fmt.Sprintf("%03d_t.sql", i+1), sql)
	}
	return files(pairs...)
}

func inserts(n int) fs.FS {
	pairs := []string{"001_t.sql", "create table t (id int);"}
	for i := range n - 1 {
		pairs = append(pairs, fmt.Sprintf("%03d_t.sql", i+2), fmt.Sprintf("insert into t values (%d);", i))
	}
	return files(pairs...)
}

func BenchmarkNothingToDo(b *testing.B) {
	compare(b, three(), "select 1")
}

// With 1 ms between client and server, as between the zones of a region: round trips count, not the
// server's work alone.
func BenchmarkNothingToDoAcrossZones(b *testing.B) {
	compareAcross(b, three(), "select 1", time.Millisecond)
}

func compare(b *testing.B, fsys fs.FS, before string) {
	b.Helper()
	compareAcross(b, fsys, before, 0)
}

func compareAcross(b *testing.B, fsys fs.FS, before string, delay time.Duration) {
	b.Helper()
	cfg := parse(b, pgserver.Database(b))
	admin, err := pgx.ConnectConfig(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { admin.Close(b.Context()) })

	if delay > 0 {
		proxy := fault.NewProxy(b, cfg.ConnString(), fault.Options{Unix: true})
		proxy.Delay(fault.ToServer, delay)
		cfg = parse(b, proxy.URL())
	}
	tern := func(b *testing.B) error {
		conn, err := pgx.ConnectConfig(b.Context(), cfg)
		if err != nil {
			return err
		}
		defer conn.Close(b.Context())
		m, err := migrate.NewMigrator(b.Context(), conn, pgmigrate.DefaultVersionTable)
		if err != nil {
			return err
		}
		if err := m.LoadMigrations(fsys); err != nil {
			return err
		}
		return m.Migrate(b.Context())
	}
	ours := func(b *testing.B) error {
		m, err := pgmigrate.New(cfg, fsys, pgmigrate.WithLogger(nil))
		if err != nil {
			return err
		}
		_, err = m.Up(b.Context())
		return err
	}
	if err := tern(b); err != nil {
		b.Fatal(err)
	}
	// By turns, because the machine is rarely ours alone: its noise then falls on both sides.
	var durations [2][]float64
	for b.Loop() {
		for i, run := range []func(*testing.B) error{tern, ours} {
			if _, err := admin.Exec(b.Context(), before); err != nil {
				b.Fatal(err)
			}
			start := time.Now()
			if err := run(b); err != nil {
				b.Fatal(err)
			}
			durations[i] = append(durations[i], time.Since(start).Seconds()*1000)
		}
	}
	median := func(d []float64) float64 {
		slices.Sort(d)
		return d[len(d)/2]
	}
	b.ReportMetric(median(durations[0]), "ms/tern")
	b.ReportMetric(median(durations[1]), "ms/pgmigrate")
	b.ReportMetric(median(durations[1])/median(durations[0]), "ratio")
}
