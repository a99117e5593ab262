package replica_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgpool/replica"
)

const tokenText = "1-66e1f2a300000001-0000000a-00000016b374d848"

func TestTokenText(t *testing.T) {
	t.Parallel()
	token, err := replica.ParseToken(tokenText)
	if err != nil || token.String() != tokenText || token.IsZero() {
		t.Errorf("read %q as %s, %v", tokenText, token, err)
	}
	encoded, err := json.Marshal(map[string]replica.Token{"token": token})
	if err != nil {
		t.Fatal(err)
	}
	var decoded map[string]replica.Token
	if err := json.Unmarshal(encoded, &decoded); err != nil || decoded["token"] != token {
		t.Errorf("%s became %v, %v", encoded, decoded, err)
	}
	if zero, err := replica.ParseToken(""); err != nil || !zero.IsZero() || zero.String() != "" {
		t.Errorf("the empty text is %s, %v; want the zero token", zero, err)
	}
}

func TestTokenOfContext(t *testing.T) {
	t.Parallel()
	token, err := replica.ParseToken(tokenText)
	if err != nil {
		t.Fatal(err)
	}
	if got := replica.TokenFrom(replica.WithToken(t.Context(), token)); got != token {
		t.Errorf("got %s, want %s", got, token)
	}
	if got := replica.TokenFrom(t.Context()); !got.IsZero() {
		t.Errorf("got %s from a context without one", got)
	}
}

func TestMalformedToken(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"short":       tokenText[:43],
		"long":        tokenText + "0",
		"version":     "2" + tokenText[1:],
		"upper case":  strings.ToUpper(tokenText),
		"separator":   strings.Replace(tokenText, "-", "_", 1),
		"sign":        strings.Replace(tokenText, "-0000000a", "-+000000a", 1),
		"underscore":  strings.Replace(tokenText, "-0000000a", "-0_00000a", 1),
		"zero":        "1-0000000000000000-00000000-0000000000000000",
		"words":       "'; drop table users; --",
		"zero bytes":  strings.Repeat("\x00", len(tokenText)),
		"not a digit": strings.Replace(tokenText, "66e1", "66g1", 1),
	} {
		kept := replica.Token{}
		err := kept.UnmarshalText([]byte(text))
		if !errors.Is(err, replica.ErrMalformedToken) || !kept.IsZero() {
			t.Errorf("%s: %s, %v; want ErrMalformedToken", name, kept, err)
		}
		if err != nil && strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error quotes the text", name)
		}
	}
}

func TestLaterToken(t *testing.T) {
	t.Parallel()
	parse := func(text string) replica.Token {
		token, err := replica.ParseToken(text)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	const cluster = "1-66e1f2a300000001"
	early, late := parse(cluster+"-00000001-0000000000000010"), parse(cluster+"-00000001-0000000000000020")
	promoted, other := parse(cluster+"-00000002-0000000000000001"),
		parse("1-66e1f2a300000002-00000009-0000000000000099")
	for _, test := range []struct{ a, b, want replica.Token }{
		{early, late, late},
		{late, early, late},
		{late, promoted, promoted},
		{promoted, late, promoted},
		{early, replica.Token{}, early},
		{replica.Token{}, early, early},
		{early, other, early},
		{late, late, late},
	} {
		if got := test.a.Later(test.b); got != test.want {
			t.Errorf("of %s and %s the later is %s; want %s", test.a, test.b, got, test.want)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(tokenText)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := replica.ParseToken(text)
		if err == nil && token.String() != text {
			t.Errorf("%q was read as %s", text, token)
		}
	})
}
