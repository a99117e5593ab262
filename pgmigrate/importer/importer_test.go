package importer_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/importer"
)

func folder(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

func TestConvert(t *testing.T) {
	t.Parallel()
	for tool, c := range map[string]struct {
		from  fstest.MapFS
		want  string // name: up statements / down statements, without a transaction in braces
		notes []string
	}{
		"goose": {
			from: folder(
				"20260102_b.sql", "--+goose no transaction\r\n--+goose up\r\ncreate index concurrently i on a (id);\r\n"+
					"--+goose DOWN  \r\ndrop index concurrently i;\r\n",
				"20260101_A-table.sql", "-- +goose Up\n-- +goose StatementBegin\ncreate table a (id int);\n"+
					"-- +goose StatementEnd\n-- +goose Down\ndrop table a;\n",
				"3_c.go", "package c", "notes.sql", "select 1;",
				"20260103_c.sql", "-- +goose ENVSUB ON\n-- +goose Up\nselect '{{x}}';\n",
			),
			want: "001_a_table.sql: create table a (id int) / drop table a\n" +
				"002_b.sql: {create index concurrently i on a (id)} / {drop index concurrently i}\n" +
				"003_c.sql: select '{{x}}' / ",
			notes: []string{"3_c.go: ", "notes.sql: ", "20260103_c.sql: goose replaces", "20260103_c.sql: up: {{"},
		},
		"sql-migrate": {
			from: folder("1_a.sql", "-- +migrate Up notransaction\nvacuum;\n-- +migrate Down\nselect 2;\n"),
			want: "001_a.sql: {vacuum} / select 2",
		},
		"dbmate": {
			from: folder("1_a.sql", "-- migrate:up transaction:false\nvacuum;\n\n-- migrate:down\n",
				"10_c.sql", "-- migrate:up\nselect 10;", "9_b.sql", "-- migrate:up\n-- nothing yet\n"),
			want:  "001_a.sql: {vacuum} / \n002_b.sql: select 1 / \n003_c.sql: select 10 / ",
			notes: []string{"9_b.sql: it has no statement"},
		},
		"golang-migrate": {
			from: folder("2_b.up.sql", "create index concurrently i on a (id);", "1_a.up.sql", "create table a (id int);",
				"1_a.down.sql", "BEGIN;\ndrop table a;\nCOMMIT; -- done\n", "10_c.up.sql",
				"-- ten\nbegin transaction; select 10;\nend;", "12_e.up.sql", "alter table p detach partition p1 concurrently;"),
			want: "001_a.sql: create table a (id int) / drop table a\n" +
				"002_b.sql: {create index concurrently i on a (id)} / \n003_c.sql: select 10 / \n" +
				"004_e.sql: {alter table p detach partition p1 concurrently} / ",
			notes: []string{
				"2_b.up.sql: up: create index concurrently cannot run", "1_a.up.sql: down: its BEGIN", "10_c.up.sql: up: its BEGIN",
				"12_e.up.sql: up: alter table p cannot run",
			},
		},
		"Flyway": {
			from: folder("V1_10__late.sql", "select 2;", "V1.2__Early one.sql", "select 1;",
				"U1.2__Early one.sql", "select -1;",
				"R__view.sql", "select 3;", "V2__c.sql", "vacuum;", "V2__c.sql.conf", "executeInTransaction = false",
				"more/V3__d.sql", "select 3;"),
			want:  "001_early_one.sql: select 1 / select -1\n002_late.sql: select 2 / \n003_c.sql: {vacuum} / ",
			notes: []string{"R__view.sql: a repeatable", "more: the files in this folder are left out"},
		},
		"Prisma": {
			from: folder("20260102_two/migration.sql", "select 2;", "20260101_one/migration.sql", "select 1;",
				"20260103_empty/readme", "", "migration_lock.toml", "x", "0_init/migration.sql", "select 0;"),
			want:  "001_init.sql: select 0 / \n002_one.sql: select 1 / \n003_two.sql: select 2 / ",
			notes: []string{"20260103_empty: "},
		},
		"plain SQL": {
			from: folder("1-a.sql", "select 1;", "10-c.sql", "select 10;", "2-b.SQL", "\ufeffselect 2;"),
			want: "001_a.sql: select 1 / \n002_b.sql: select 2 / \n003_c.sql: select 10 / ",
		},
	} {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			result, err := importer.Convert(c.from)
			if err != nil {
				t.Fatal(err)
			}
			if result.Tool != tool {
				t.Errorf("%s", result.Tool)
			}
			to := fstest.MapFS{}
			for _, f := range result.Files {
				to[f.Name] = &fstest.MapFile{Data: []byte(f.Body)}
			}
			migrations, err := pgmigrate.Check(to, pgmigrate.WithStrict())
			if err != nil {
				t.Fatal(err)
			}
			section := func(m pgmigrate.Migration, d pgmigrate.Direction) string {
				var list []string
				for _, s := range m.Statements(d) {
					list = append(list, s.SQL)
				}
				if text := strings.Join(list, "; "); m.Transactional(d) {
					return text
				} else {
					return "{" + text + "}"
				}
			}
			var got []string
			for _, m := range migrations {
				got = append(got, fmt.Sprintf("%s: %s / %s", m.Name, section(m, pgmigrate.DirectionUp),
					section(m, pgmigrate.DirectionDown)))
			}
			if got := strings.Join(got, "\n"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if len(result.Notes) != len(c.notes) {
				t.Errorf("notes %q", result.Notes)
			}
			for _, want := range c.notes {
				if !strings.Contains(strings.Join(result.Notes, "\n"), want) {
					t.Errorf("no note %q in %q", want, result.Notes)
				}
			}
		})
	}
}

func TestConvertRefuses(t *testing.T) {
	t.Parallel()
	for want, from := range map[string]fstest.MapFS{
		"no migrations":        folder("a.txt", ""),
		"same number":          folder("1_a.sql", "select 1;", "01_b.sql", "select 2;"),
		"1_a.up.sql and 1_b.u": folder("1_a.up.sql", "", "1_a.down.sql", "select 1;", "1_b.up.sql", "select 2;"),
		"folder by folder":     folder("1_a.sql", "-- +goose Up\nselect 1;", "2_b.sql", "-- migrate:up\nselect 1;"),
		"cannot be converted":  folder("1_a.sql", "--liquibase formatted sql\nselect 1;"),
		"down part begins twi": folder("1_a.sql", "-- +goose Up\nselect 1;\n-- +goose Down\n-- +goose Down\n"),
	} {
		if _, err := importer.Convert(from); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
