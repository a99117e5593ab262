package pgquery_test

import (
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgquery"
)

// An escaped text matches itself, whatever it contains, and the server accepts it.
func TestEscape(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	for _, s := range []string{
		"", " ", "\n", "plain", "50%", "a_b", `\`, `a\`, `'`, `''`, `"`, `it's`, ".*", "(", "[", "{1", "a{2}",
		"***:", "***=x", "(?i)x", "^$", "a|b", "#", "-", "]",
		"a & b | !c", "<->", "a:*", `$.a ? (@.b == "c")`, "\n\t", "größe", "😀", strings.Repeat("x", 5000),
	} {
		var like, regex, path bool
		err := pool.QueryRow(t.Context(), `select $1::text like $2::text, $1::text ~ ('^' || $3::text || '$'),
			jsonb_path_match(jsonb_build_object('a', $1::text), ('$.a == ' || $4::text)::jsonpath)`,
			s, pgquery.EscapeLike(s), pgquery.EscapeRegexp(s), pgquery.EscapeJSONPath(s)).Scan(&like, &regex, &path)
		if err != nil || !like || !regex || !path {
			t.Errorf("%.20q: like %v, ~ %v, jsonpath %v, %v", s, like, regex, path, err)
		}
		var found *bool
		if err := pool.QueryRow(t.Context(), "select to_tsvector('simple', $1) @@ to_tsquery('simple', $2)", s,
			pgquery.EscapeTSQuery(s)).Scan(&found); err != nil {
			t.Errorf("%.20q: to_tsquery: %v", s, err)
		}
	}
	var n int
	err := pool.QueryRow(t.Context(), "select count(*) from pages where title like $1",
		"%"+pgquery.EscapeLike("%")+"%").Scan(&n)
	if err != nil || n != 0 {
		t.Errorf("%d titles contain a %%, %v", n, err)
	}
	var found bool
	err = pool.QueryRow(t.Context(), "select to_tsvector('simple', 'one two') @@ to_tsquery('simple', $1)",
		pgquery.EscapeTSQuery("two | one")).Scan(&found)
	if err != nil || found {
		t.Errorf("an operator took part: %v, %v", found, err)
	}
}
