package pgconfig_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgconfig"
)

// placements put a secret in the places where people put one: the right ones, escaped and not, and
// wrong ones.
var placements = []func(t *testing.T, secret string) pgconfig.Source{
	inURL("DATABASE_URL", func(s string) string { return "postgres://app:" + s + "@db.example/shop" }),
	inURL("DATABASE_URL", func(s string) string {
		return "postgres://app:" + s +
			"@db.example:5432/shop?sslmode=disable"
	}),
	inURL("DATABASE_URL", func(s string) string { return "postgres://app:" + url.QueryEscape(s) + "@db.example/shop" }),
	inURL("DATABASE_URL", func(s string) string { return "postgres://app:" + url.QueryEscape(s) + "@localhost" }),
	inURL("DATABASE_URL", func(s string) string { return "postgres://app@db.example/shop?password=" + s }),
	inURL("DATABASE_URL", func(s string) string {
		return "postgres://app@localhost/shop?sslpassword=" + s +
			"&sslmode=require"
	}),
	inURL("DATABASE_URL", func(s string) string { return "host=db.example user=app dbname=shop password=" + s }),
	inURL("DATABASE_URL", func(s string) string { return "host=localhost user=app dbname=shop password='" + s + "'" }),
	inURL("DATABASE_URL", func(s string) string { return "mysql://app:" + s + "@db.example/shop" }),
	inURL("DATABASE_URL", func(s string) string { return "psql postgres://app:" + s + "@db.example/shop" }),
	inURL("DATABASE_URL", func(s string) string { return s }),
	inURL("DIRECT_DATABASE_URL", func(s string) string { return "postgres://app:" + s + "@db.example/shop" }),
	inURL("DATABASE_REPLICA_URLS", func(s string) string {
		return "postgres://app:" + s + "@a/shop,postgres://app:" +
			s + "@b/shop"
	}),
	inURL("DATABASE_URL_FILE", func(s string) string { return s }),
	inURL("DATABASE_PASSWORD_FILE", func(s string) string { return s }),
	inURL("DATABASE_POOL_MAX_CONNS", func(s string) string { return s }),
	inURL("DATABASE_ACQUIRE_TIMEOUT", func(s string) string { return s }),
	inURL("DATABASE_PGBOUNCER", func(s string) string { return s }),
	inURL("APP_ENV", func(s string) string { return s }),
	inURL("PGPORT", func(s string) string { return s }),
	inURL("PGSSLMODE", func(s string) string { return s }),
	inURL("DATABASE_PASSWORD", func(s string) string { return s }),
	func(_ *testing.T, s string) pgconfig.Source {
		return pgconfig.Source{Environ: env{
			"PGHOST": "localhost", "PGDATABASE": "shop", "PGUSER": "app",
			"PGPASSWORD": s, "PGSSLPASSWORD": s,
		}}
	},
	func(t *testing.T, s string) pgconfig.Source {
		return pgconfig.Source{Environ: env{
			"DATABASE_URL":           "postgres://app@localhost/shop",
			"DATABASE_PASSWORD_FILE": file(t, "password", s),
		}}
	},
	func(t *testing.T, s string) pgconfig.Source {
		return pgconfig.Source{Environ: env{"DATABASE_URL_FILE": file(t, "url",
			"postgres://app:"+s+"@db.example/shop")}}
	},
	func(t *testing.T, s string) pgconfig.Source {
		dotenv := file(t, "dotenv", "DATABASE_URL=postgres://app:"+s+"@localhost/shop\n")
		return pgconfig.Source{Environ: env{"APP_ENV": "test"}, DotEnv: []string{dotenv}}
	},
	func(t *testing.T, s string) pgconfig.Source {
		dotenv := file(t, "dotenv", "DATABASE_URL=\"postgres://app:"+s+"@localhost/shop\"\n")
		return pgconfig.Source{Environ: env{"APP_ENV": "test"}, DotEnv: []string{dotenv}}
	},
	func(t *testing.T, s string) pgconfig.Source {
		dotenv := file(t, "dotenv", "DATABASE_URL=postgres://app@localhost/shop\n"+s+"\n")
		return pgconfig.Source{Environ: env{"APP_ENV": "test"}, DotEnv: []string{dotenv}}
	},
}

func inURL(key string, text func(secret string) string) func(*testing.T, string) pgconfig.Source {
	return func(_ *testing.T, secret string) pgconfig.Source {
		environ := env{"DATABASE_URL": "postgres://app@localhost/shop"}
		environ[key] = text(secret)
		return pgconfig.Source{Environ: environ}
	}
}

// FuzzSecret: no secret of four characters or more, nor a piece of one cut at a special character,
// appears in an error, a report or a formatted Config.
func FuzzSecret(f *testing.F) {
	for i := range placements {
		for _, secret := range []string{
			"hunter22", "hun@ter22", "hunt/er22", "hunt:er22", "hunt#er22", "hunt?er22", "hunt%er22", "hunt%41er22",
			"hunt&er22",
			"hunt er22", "hunt'er22", `hunt"er22`, `hunt\er22`, "hunt\ner22", "hunt@er22@abcd/efgh", "@@@@hunt",
			"hunt=er22", "hunt$ER22",
			"[hunt]", "hunt,er22", "ｈｕｎｔ", "hunt@er22?abcd=efgh", "DATABASE_x1y2 hunt", "hunt\x00er22",
		} {
			f.Add(uint8(i), secret)
		}
	}
	public := publicText(f)
	f.Fuzz(func(t *testing.T, placement uint8, secret string) {
		place := int(placement) % len(placements)
		if isAmbiguous(secret) {
			t.Skip("cannot be told from a host, a parameter or a variable")
		}
		if strings.Trim(secret, "+-.0123456789hmnsuµ") == "" {
			t.Skip("a valid number or duration, shown as such where one is asked for")
		}
		text := describe(t, place, secret)
		var coincidence string
		for _, piece := range splitSecret(secret) {
			if !strings.Contains(text, piece) || strings.Contains(public, piece) {
				continue
			}
			if coincidence == "" {
				coincidence = describe(t, place, strings.Map(changeRune, secret))
			}
			if !strings.Contains(coincidence, piece) {
				at := strings.Index(text, piece)
				t.Errorf("placement %d: %q of %q appears in: …%s…", place, piece, secret,
					text[max(0, at-200):min(len(text), at+100)])
			}
		}
	})
}

// describe returns everything that can be seen of a configuration with the secret in that place.
func describe(t *testing.T, place int, secret string) string {
	t.Helper()
	src := placements[place](t, secret)
	cfg, err := pgconfig.LoadFrom(src)
	var text string
	if err != nil {
		text = fmt.Sprintf("%v %+v %#v", err, err, err) + formatAll(err.(*pgconfig.Error).Problems)
	} else {
		text = formatAll(cfg) + formatAll(&cfg) + formatAll(cfg.Report()) + formatAll(cfg.URL()) +
			formatAll(cfg.DirectURL()) + formatAll(cfg.ReplicaURLs())
		pc, err := cfg.PoolConfig()
		if err != nil {
			text += err.Error()
		} else {
			text += pc.ConnString()
		}
	}
	for _, path := range append(src.DotEnv, src.Environ["DATABASE_PASSWORD_FILE"], src.Environ["DATABASE_URL_FILE"]) {
		if strings.HasPrefix(path, os.TempDir()) {
			text = strings.ReplaceAll(text, path, "")
		}
	}
	return text
}

// changeRune turns a secret into a different one of the same shape. Text that the output shares
// with both comes from neither.
func changeRune(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z':
		return 'a' + (r-'a'+13)%26
	case r >= 'A' && r <= 'Z':
		return 'A' + (r-'A'+13)%26
	case r >= '0' && r <= '9':
		return '0' + (r-'0'+5)%10
	case r > 0x2000:
		return r + 1
	}
	return r
}

// isAmbiguous reports a secret that turns the text around it into something else that is valid:
// name=value pairs, whole URLs.
func isAmbiguous(secret string) bool {
	return strings.Contains(secret, "://") ||
		strings.Contains(secret, "=") && strings.ContainsAny(secret, "& \t\r\n\v\f'\u0085\u00a0") ||
		strings.HasPrefix(secret, "/") // the path of a file, where one is asked for
}

// splitSecret returns the parts that a parser might split a secret into, raw and decoded, of four
// bytes or more.
func splitSecret(secret string) []string {
	all := []string{secret}
	if decoded, err := url.PathUnescape(secret); err == nil {
		all = append(all, decoded)
	}
	for _, s := range all {
		all = append(all, strings.FieldsFunc(s,
			func(r rune) bool { return strings.ContainsRune("@/:#?%&=+'\"\\$,;[] \t\r\n", r) })...)
	}
	long := all[:0]
	for _, p := range all {
		if len(strings.TrimSpace(p)) >= 4 {
			long = append(long, p)
		}
	}
	return long
}

// publicText is the text of messages and reports without secrets. A random secret may be a word of
// it.
func publicText(f *testing.F) string {
	sources, err := filepath.Glob("*.go")
	if err != nil {
		f.Fatal(err)
	}
	parser, err := filepath.Glob("internal/dsn/*.go")
	if err != nil {
		f.Fatal(err)
	}
	sources = append(sources, parser...)
	var b strings.Builder
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		b.Write(text)
	}
	cfg, err := pgconfig.Parse("postgres://app:x@db.example/shop")
	if err != nil {
		f.Fatal(err)
	}
	return b.String() + formatAll(cfg) + formatAll(cfg.Report()) + formatAll(err) + formatAll(&pgconfig.Error{}) +
		"**** %!z(pgconfig.Secret=****)"
}
