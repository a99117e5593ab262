package diff_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/diff"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

const base = `create type mood as enum ('good', 'bad');
create table authors (id int primary key, name text);
create table pages (id int primary key, author int, title text, mood mood);`

func after(sql string) fstest.MapFS {
	return fstest.MapFS{"1_base.sql": &fstest.MapFile{Data: []byte(sql)}}
}

// Values of an enum, and the reading of a whole table, come in files of their own; what PostgreSQL
// cannot take back has no way down and says why; and a rename looks like a loss.
func TestSections(t *testing.T) {
	t.Parallel()
	result, err := diff.Make(t.Context(), after(base), `create type mood as enum ('good', 'fair', 'bad');
		create table authors (id int primary key, name text);
		create table pages (id int primary key, author int references authors, heading text, mood mood);
		create table tags (id int primary key, page int references pages);`, "more", diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range result.Files {
		up, down, ok := strings.Cut(f.Content, "\n-- This cannot be rolled back: ")
		if !ok || down == "" {
			t.Errorf("%s has a way down:\n%s", f.Name, f.Content)
		}
		if strings.Contains(up, "ADD VALUE") && (strings.Count(up, ";\n") != 1) {
			t.Errorf("%s has more than the enum's value:\n%s", f.Name, up)
		}
		if strings.Contains(up, `"pages" VALIDATE CONSTRAINT`) && strings.Contains(up, "ADD CONSTRAINT") {
			t.Errorf("%s validates under the lock of another statement:\n%s", f.Name, up)
		}
		all.WriteString(up)
	}
	for _, want := range []string{
		`ALTER TYPE public.mood ADD VALUE 'fair' AFTER 'good'`,
		`ALTER TABLE "public"."pages" VALIDATE CONSTRAINT "pages_author_fkey"`,
		"-- If this is a rename, write it as ALTER … RENAME … TO …",
	} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no %s in\n%s", want, &all)
		}
	}
}

// What there is no way to here is a person's work: the error says what, and how to go on.
func TestRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ from, to, want, change string }{
		"a check by a function": {
			base, "create function even(i int) returns boolean language sql immutable as 'select i % 2 = 0';" +
				strings.Replace(base, "author int", "author int check (even(author))", 1),
			"there is no automatic way to this schema: pg-schema-diff: ", "change table pages",
		},
		"a table that got another name, with its sequence": {
			"create table scratch (id serial primary key);",
			`create sequence scratch_id_seq as integer;
				create table notes (id integer not null default nextval('scratch_id_seq'));
			alter sequence scratch_id_seq owned by notes.id;
				alter table notes add constraint scratch_pkey primary key (id);`,
			"the statements that were found do not run: ", "",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result, err := diff.Make(t.Context(), after(test.from), test.to, "refused", diff.Options{})
			var refused *diff.RefusedError
			if !errors.As(err, &refused) || result != nil {
				t.Fatalf("%+v, %v", result, err)
			}
			if !strings.HasPrefix(refused.Reason, test.want) || !strings.Contains(err.Error(), "\n  "+test.change) &&
				test.change != "" ||
				!strings.HasSuffix(err.Error(),
					"write that with: pgmigrate new NAME; then run diff again for the rest") {
				t.Errorf("%v", err)
			}
		})
	}
}

// The way down is tried: where it does not lead back there is none.
func TestNoWayBack(t *testing.T) {
	t.Parallel()
	const entries = `create table entries (at date not null, page int) partition by range (at);
		create table entries_2026 partition of entries for values from ('2026-01-01') to ('2027-01-01');`
	result, err := diff.Make(t.Context(), after(entries), entries+"create index entries_page on entries (page)",
		"index", diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range result.Files {
		if !strings.Contains(f.Content, "\n-- This cannot be rolled back: ") {
			t.Errorf("%s:\n%s", f.Name, f.Content)
		}
	}
}

func TestMakeFails(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tests := map[string]struct {
		ctx    context.Context
		folder fstest.MapFS
		wanted string
		opts   diff.Options
		want   []string
	}{
		"a gap in the folder": {
			t.Context(),
			fstest.MapFS{"2_b.sql": &fstest.MapFile{Data: []byte("select 1")}},
			"",
			diff.Options{},
			[]string{"diff: ", "2_b.sql"},
		},
		"the line of the mistake": {
			t.Context(), after(base), "select 1;\n\ncreate table é (a);",
			diff.Options{},
			[]string{"the wanted schema does not run on an empty database: line 3: "},
		},
		"a mistake without a place": {
			t.Context(), after(base), "select 1;\nselect 1 / 0",
			diff.Options{},
			[]string{"the wanted schema does not run on an empty database: ERROR: division by zero"},
		},
		"migrations that do not run": {
			t.Context(), after("create tabel a ()"), "",
			diff.Options{},
			[]string{"diff: migrate the shadow database: ", "1_base.sql"},
		},
		"an extension that is not": {
			t.Context(), after(base), "",
			diff.Options{Shadow: shadow.Options{Extensions: []string{"no such"}}},
			[]string{"extension no such: "},
		},
		"ended before it began": {
			ended, after(base), base, diff.Options{}, []string{"diff: shadow database: ", "canceled"},
		},
		"names of a table and schema": {
			t.Context(), after("create table versions ()"), "",
			diff.Options{VersionTable: "public.versions", HistorySchema: "own"},
			[]string{"versions"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result, err := diff.Make(test.ctx, test.folder, test.wanted, "fails", test.opts)
			if err == nil || result != nil {
				t.Fatalf("%+v, %v", result, err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in %v", want, err)
				}
			}
			var folder *pgmigrate.FolderError
			if name == "a gap in the folder" && !errors.As(err, &folder) {
				t.Errorf("no FolderError: %v", err)
			}
		})
	}
}
