package lex_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgquery/internal/lex"
)

func TestArguments(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`p.site = @site`:                        "site",
		`p.site=@site`:                          "site",
		`@a+@b||@c`:                             "a b c",
		`a >= @a and b<>@b and c!=@c and d<=@d`: "a b c d",
		`x @@ to_tsquery('a')`:                  "",
		`x @@to_tsquery('a')`:                   "",
		`x @@ @query`:                           "query",
		`tags @> @tags`:                         "tags",
		`tags <@ array['a']`:                    "",
		`@ -5`:                                  "",
		`j @? '$.a' and j @? @path`:             "path",
		`'@a' || @b`:                            "b",
		`'it''s @a' || @b`:                      "b",
		`'\' || @b || '\'`:                      "b",
		`E'\' @a' || @b`:                        "b",
		`e'\\' || @b`:                           "b",
		`U&'\0041 @a' || @b`:                    "b",
		`B'01' || X'ff' || n'@a'`:               "",
		`type'@x'`:                              "",
		`"@a" = @b`:                             "b",
		`"a""@c" = @b`:                          "b",
		`U&"d\0061t@a" = @b`:                    "b",
		`$$ @a $$ || @b`:                        "b",
		`$tag$ @a $$ @c $tag$ || @b`:            "b",
		`a$1 = @b`:                              "b",
		"1 -- @a '\n + @b":                      "b",
		`1 /* @a /* @c */ ' */ + @b`:            "b",
		`1 -/* @a */ @b`:                        "b",
		`@a::text::citext`:                      "a",
		`x[@from:@to]`:                          "from to",
		`1e5+@a`:                                "a",
		`@größe = 1`:                            "größe",
		`@from_2`:                               "from_2",
		`case when @a then 1 end`:               "a",
		`a ? 'b' and a ?| array['c'] and a #>> '{d}'`: "",
	} {
		tokens, err := lex.Tokens(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var got []string
		for _, token := range tokens {
			if token.Kind == lex.Argument {
				got = append(got, token.Text)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                "the text is empty",
		` -- only`:        "the text is empty",
		`(`:               `'(' is never closed`,
		`a[1`:             `'[' is never closed`,
		`a) or (b`:        `')' closes nothing`,
		`(a]`:             `']' closes nothing`,
		`a; drop table b`: "a semicolon",
		`'a`:              "a string constant is never closed",
		`E'a\'`:           "a string constant is never closed",
		`"a`:              "a quoted identifier is never closed",
		`$$a`:             "a string constant $$ is never closed",
		`$a$ b $c$`:       "a string constant $a$ is never closed",
		`/* /* */`:        "a block comment is never closed",
		`a = $1`:          "$1 is a positional parameter",
		`a $ b`:           "a $ belongs to nothing",
		`a $`:             "a $ belongs to nothing",
		"a\x00":           "not UTF-8",
		"a\xff":           "not UTF-8",
		`a <@b`:           "<@b may be an operator or an argument",
		`a @-@b`:          "@-@b may be an operator or an argument",
		`a @@@b`:          "@@@b may be an operator or an argument",
		"E'a'\n'\\'@b'":   "follows another one",
		"'a' -- c\n '@b'": "follows another one",
		`\d`:              `is not SQL`,
	} {
		if _, err := lex.Tokens(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := lex.Tokens(" "); !errors.Is(err, lex.ErrEmpty) {
		t.Error(err)
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	tokens, err := lex.Tokens("a (b [c] d) e")
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, token := range tokens {
		if token.Kind == lex.Word {
			got = append(got, token.Depth)
		}
	}
	if !slices.Equal(got, []int{0, 1, 2, 1, 0}) {
		t.Error(got)
	}
}

// For any text, the tokens mean the same to the server and contain no comment.
func FuzzTokens(f *testing.F) {
	for _, seed := range []string{`a = @b`, `'a' || $$b$$`, `E'\''`, `/* a */ -- b`, `"a" <@ b`, `a[1:2]::int`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := lex.Tokens(text)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, token := range tokens {
			if token.Kind == lex.Argument {
				b.WriteByte('@')
			}
			b.WriteString(token.Text)
		}
		again, err := lex.Tokens(b.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", text, b.String(), err)
		}
		if len(words(again)) != len(words(tokens)) {
			t.Fatalf("%q became %q", text, b.String())
		}
	})
}

func words(tokens []lex.Token) (words []lex.Token) {
	for _, token := range tokens {
		if token.Kind != lex.Space {
			words = append(words, token)
		}
	}
	return words
}
