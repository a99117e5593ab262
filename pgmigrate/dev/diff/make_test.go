package diff_test

import (
	"context"
	"errors"
	"fmt"
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

// Values of an enum, and the reading of a whole table, come in files of their own, each with a way
// down; and a rename looks like a loss.
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
		up, down, ok := strings.Cut(f.Content, "\n---- create above / drop below ----\n")
		if !ok || down == "" {
			t.Errorf("%s has no way down:\n%s", f.Name, f.Content)
		}
		if strings.Contains(up, "ADD VALUE") && (strings.Count(up, ";\n") != 1) {
			t.Errorf("%s has more than the enum's value:\n%s", f.Name, up)
		}
		if strings.Contains(up, "pages VALIDATE CONSTRAINT") && strings.Contains(up, "ADD CONSTRAINT") {
			t.Errorf("%s validates under the lock of another statement:\n%s", f.Name, up)
		}
		all.WriteString(up)
	}
	for _, want := range []string{
		`ALTER TYPE public.mood ADD VALUE 'fair' AFTER 'good'`,
		`ALTER TABLE public.pages VALIDATE CONSTRAINT pages_author_fkey`,
		"-- If this is a rename, write it as ALTER … RENAME … TO …",
	} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no %s in\n%s", want, &all)
		}
	}
}

// What PostgreSQL refuses is a person's work: the error names the object and the reason. The files
// have the rest.
func TestRefused(t *testing.T) {
	t.Parallel()
	const label = `create type label;
		create function label_in(cstring) returns label language internal immutable strict as 'textin';
		create function label_out(label) returns cstring language internal immutable strict as 'textout';
		create type label (input = label_in, output = label_out, like = text%s);`
	result, err := diff.Make(t.Context(), after(base+fmt.Sprintf(label, "")),
		base+fmt.Sprintf(label, ", delimiter = ';'")+"alter table pages add column slug text;", "refused", diff.Options{})
	var refused *diff.RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("%+v, %v", result, err)
	}
	if text := err.Error(); !strings.Contains(text, "\n  change type label: a base type ") ||
		!strings.HasSuffix(text, "write that with: pgmigrate new NAME; then run diff again for the rest") {
		t.Error(text)
	}
	if len(result.Files) != 1 || !strings.Contains(result.Files[0].Content, "ADD COLUMN slug text") ||
		strings.Contains(result.Files[0].Content, "label_old") {
		t.Errorf("%+v", result.Files)
	}
}

// An index of a partitioned table is attached to, which nothing takes back: the way down drops it
// and makes it again.
func TestPartitionedIndex(t *testing.T) {
	t.Parallel()
	const entries = `create table entries (at date not null, page int) partition by range (at);
		create table entries_2026 partition of entries for values from ('2026-01-01') to ('2027-01-01');`
	result, err := diff.Make(t.Context(), after(entries), entries+"create index entries_page on entries (page)",
		"index", diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range result.Files {
		if strings.Contains(f.Content, "\n-- This cannot be rolled back: ") {
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
