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
)

// Connecting is included on both sides: it is part of every start of a service.

func BenchmarkTwentyMigrations(b *testing.B) {
	var pairs []string
	for i := range 20 {
		pairs = append(pairs, fmt.Sprintf("%03d_t.sql", i+1), fmt.Sprintf("create table t%d (id int primary key);", i))
	}
	compare(b, files(pairs...), "drop schema public cascade; create schema public")
}

func BenchmarkNothingToDo(b *testing.B) {
	compare(b, three(), "select 1")
}

func compare(b *testing.B, fsys fs.FS, before string) {
	b.Helper()
	cfg, err := pgx.ParseConfig(pgserver.Database(b))
	if err != nil {
		b.Fatal("parse the test database's address")
	}
	admin, err := pgx.ConnectConfig(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { admin.Close(b.Context()) })

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
