package dev_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sqlc-dev/oliphant/parser"

	"github.com/page-builder/persistence/pgmigrate"
)

// extent is where a statement begins and ends, in bytes.
type extent struct{ start, end int }

// parserExtents returns the statements as PostgreSQL's grammar finds them. ok is false if the
// grammar does not take the text.
func parserExtents(sql string) (extents []extent, ok bool) {
	tree, err := parser.ParseFile(sql)
	if err != nil {
		return nil, false
	}
	// The grammar counts what precedes a statement as a part of it: blank out the comments.
	blank := []byte(sql)
	for _, c := range tree.Comments {
		for i := c.Start; i < c.End; i++ {
			blank[i] = ' '
		}
	}
	const space = " \t\n\r\f\v"
	for _, s := range tree.Stmts {
		start, end := int(s.StmtLocation), len(sql)
		if s.StmtLen > 0 {
			end = start + int(s.StmtLen)
		}
		text := string(blank[start:end])
		start += len(text) - len(strings.TrimLeft(text, space))
		end -= len(text) - len(strings.TrimRight(text, space))
		extents = append(extents, extent{start, end})
	}
	return extents, true
}

func ourExtents(sql string) (extents []extent) {
	for _, s := range (pgmigrate.Migration{Up: sql}).Statements(pgmigrate.DirectionUp) {
		extents = append(extents, extent{s.Offset, s.Offset + len(s.SQL)})
	}
	return extents
}

// difference compares both and describes the first difference, or returns "".
func difference(sql string) (text string, parsed bool) {
	want, ok := parserExtents(sql)
	if !ok {
		return "", false
	}
	if got := ourExtents(sql); !slices.Equal(got, want) {
		return fmt.Sprintf("%q\nours:     %v\nparser's: %v", sql, got, want), true
	}
	return "", true
}

// tricky holds what ends, or does not end, a statement. Each is followed by a second statement.
var tricky = []string{
	"select 1",
	"select ';'",
	"select 'it''s;'",
	`select 'a\'`,
	`select E'a\';'`,
	`select e'\\'`,
	"select E'a'\n'\\';'",
	"select 'a' -- c\n '\\'",
	"select 'a' /* c */ as b",
	"select B'01' , X'1F', N'a;b'",
	"select b'01'\n'10'",
	`select U&'\0061;'`,
	`select U&"a;" from (select 1 as "a;") x`,
	"select u&'!0061' uescape '!'",
	`select 1 as "a;b", 2 as "c""; d"`,
	"select $$;$$, $a$;$$;$a$, $_1é$;$_1é$",
	"select $a$ $b$ $a $a$",
	"select a$b$ from (select 1 as a$b$) x",
	"select a$$ from (select 1 as a$$) x",
	"prepare p as select $1 + $2",
	"select 1 -- ;\\",
	"select 1 -- ;\r",
	"select /* ; /* ; */ ; */ 1",
	"select 1 /**/",
	"select 1 /***/",
	"select 1 /*/**/*/",
	"select 2 -/* ; */- 1",
	"select 2 *-- ;\n 1",
	"select 2 +@ 1",
	"select 1e5, 1.5e-3, .5, 1.",
	"create rule r as on insert to t do also (insert into a values (1); insert into b values (2);)",
	"create rule r as on insert to t do nothing",
	"create function f() returns int begin atomic select 1; select case when true then 1 else 2 end; end",
	"create or replace function f(a int default (1)) returns int begin atomic; ; end",
	"create procedure p() begin atomic select 1 as end; select 2 \"end\"; end",
	"create function f() returns int return (select 1)",
	"create function f() returns int language sql as $$ begin; end; $$",
	"select begin atomic from (select 1 as begin) x",
	"begin",
	"end",
	"select case when true then 1 end",
	"create table a (b int, c text check (c <> ';'))",
	"select array[1, 2][1]",
	"select '\u00a0;'",
	"select 1\v",
}

func TestStatementsAgreeWithParser(t *testing.T) {
	t.Parallel()
	for _, first := range tricky {
		parsedAny := false
		for _, between := range []string{";", ";;\n", "\n;/* ; */", "; -- ;\n", ";\r-- a\\\n"} {
			for _, second := range []string{"select 2", "-- only a comment", "", "create table \"b;\" (i int);"} {
				text, parsed := difference(first + between + second)
				if text != "" {
					t.Error(text)
				}
				parsedAny = parsedAny || parsed
			}
		}
		if !parsedAny {
			t.Logf("the parser does not take %q", first)
		}
	}
}

// TestStatementsOfFiles compares over SQL files of one's own choice, such as PostgreSQL's
// regression suite: PGMIGRATE_SQL names a folder. A file that the parser does not take as a whole
// is compared line group by line group.
func TestStatementsOfFiles(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("PGMIGRATE_SQL")
	if dir == "" {
		dir = "."
	}
	compared, differ := 0, 0
	compare := func(path, sql string) bool {
		text, parsed := difference(sql)
		if parsed {
			compared++
		}
		if text != "" {
			if differ++; differ <= 20 {
				t.Errorf("%s: %s", path, text)
			}
		}
		return parsed
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".sql") {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !compare(path, string(body)) {
			for part := range strings.SplitSeq(string(body), "\n\n") {
				compare(path, part)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if compared == 0 {
		t.Errorf("nothing was compared in %s", dir)
	}
	t.Logf("%d texts compared", compared)
}

func FuzzStatements(f *testing.F) {
	for _, sql := range tricky {
		f.Add(sql + "; select 2")
	}
	f.Fuzz(func(t *testing.T, sql string) {
		// The server takes a text up to its first NUL, and the parser does not know what an earlier
		// statement has set.
		if strings.Contains(sql, "\x00") || strings.Contains(strings.ToLower(sql), "standard_conforming_strings") {
			t.Skip()
		}
		if text, _ := difference(sql); text != "" {
			t.Error(text)
		}
	})
}
