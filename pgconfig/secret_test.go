package pgconfig_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgconfig"
)

// verbs are all verbs of fmt except %p, and one that does not exist.
var verbs = []string{
	"%v", "%+v", "%#v", "%s", "%+s", "%q", "%#q", "%x", "%X", "% x", "%d", "%t", "%c", "%U", "%b",
	"%o", "%e", "%g", "%T", "%z", "%10v", "%-10.3s",
}

// formatAll returns v in every form that a log or an error could take.
func formatAll(v any) string {
	var b strings.Builder
	for _, verb := range verbs {
		fmt.Fprintf(&b, verb+"\n", v)
	}
	fmt.Fprintf(&b, "%v %+v %#v\n", []any{v}, struct{ V any }{v}, map[string]any{"v": v})
	_ = json.NewEncoder(&b).Encode(v)
	_ = json.NewEncoder(&b).Encode(map[string]any{"config": v})
	slog.New(slog.NewJSONHandler(&b, nil)).Info("loaded", "config", v)
	slog.New(slog.NewTextHandler(&b, nil)).Info("loaded", "config", v)
	_ = gob.NewEncoder(&b).Encode(v)
	return b.String()
}

func TestSecret(t *testing.T) {
	t.Parallel()
	secret := pgconfig.NewSecret("hunter2hunter2")
	pair := struct {
		S pgconfig.Secret
		L []pgconfig.Secret
		M map[string]pgconfig.Secret
	}{secret, []pgconfig.Secret{secret}, map[string]pgconfig.Secret{"k": secret}}
	asXML, err := xml.Marshal(pair.L)
	if err != nil {
		t.Fatal(err)
	}
	plain := []string{
		"hunter2", fmt.Sprintf("%x", "hunter2"), fmt.Sprintf("%X", "hunter2"),
		fmt.Sprintf("% x", "hunter2"),
	}
	text := string(asXML)
	for _, v := range []any{secret, &pair, pair} {
		var b strings.Builder
		for _, verb := range verbs {
			fmt.Fprintf(&b, verb+"\n", v)
		}
		text += b.String()
	}
	// fmt calls no methods for these two verbs, or on unexported fields.
	wrongVerb, wrap := "%p", "connect: %w"
	hidden := struct{ s pgconfig.Secret }{secret}
	for _, v := range []any{secret, pair.L, pair, hidden} {
		text += fmt.Sprintf(wrongVerb, v) + fmt.Errorf(wrap, v).Error() + fmt.Sprintf("%+v", v)
	}
	var b bytes.Buffer
	_ = json.NewEncoder(&b).Encode(pair)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "secret", secret)
	if err := gob.NewEncoder(&b).Encode(secret); err != nil {
		t.Fatal(err)
	}
	text += b.String()
	for _, p := range plain {
		if strings.Contains(text, p) {
			t.Errorf("%q appears in %s", p, text)
		}
	}
	equal(t, "text", secret.Reveal(), "hunter2hunter2")
	equal(t, "%v", fmt.Sprintf("%v", secret), "****")
	equal(t, "%#v", fmt.Sprintf("%#v", secret), `pgconfig.Secret("****")`)
	equal(t, "%q", fmt.Sprintf("%q", secret), `"****"`)
	equal(t, "an empty one", fmt.Sprint(pgconfig.Secret{}), "")

	var decoded struct{ S pgconfig.Secret }
	if err := json.Unmarshal([]byte(`{"S":"kept"}`), &decoded); err != nil {
		t.Fatal(err)
	}
	equal(t, "decoded", decoded.S.Reveal(), "kept")
	var transported pgconfig.Secret
	var wire bytes.Buffer
	if err := errors.Join(gob.NewEncoder(&wire).Encode(secret),
		gob.NewDecoder(&wire).Decode(&transported)); err != nil {
		t.Fatal(err)
	}
	equal(t, "what gob carries", transported.Reveal(), "****")
	equal(t, "String", secret.String(), "****")
}

// TestConfigInAField: fmt calls no methods on unexported fields. They must not show a secret.
func TestConfigInAField(t *testing.T) {
	t.Parallel()
	cfg, err := pgconfig.Parse("postgres://app:hunter2hunter2@localhost/d")
	if err != nil {
		t.Fatal(err)
	}
	type server struct {
		cfg     pgconfig.Config
		pointer *pgconfig.Config
	}
	text := formatAll(server{cfg, &cfg}) + formatAll(cfg) + formatAll(&cfg)
	wrongVerb := "%p" // fmt then prints the fields without asking a method
	text += fmt.Sprintf(wrongVerb, cfg)
	if strings.Contains(text, "hunter2") {
		t.Error(text)
	}
	for _, verb := range verbs {
		if verb != "%T" {
			equal(t, verb, fmt.Sprintf(verb, cfg), cfg.String())
		}
	}
	if want := "postgres://app:****@localhost:5432/d?sslmode=prefer"; !strings.Contains(fmt.Sprint(cfg), want) {
		t.Errorf("no %s in %v", want, cfg)
	}
}

// TestCustomSetting: the value of a setting that is not the server's own may be a key.
func TestCustomSetting(t *testing.T) {
	t.Parallel()
	for _, environ := range []env{
		{"DATABASE_URL": "postgres://u@localhost/d?options=-c%20app.key%3Dhidden"},
		{"DATABASE_URL": "postgres://u@localhost/d?app.key=hidden"},
		{"PGHOST": "localhost", "PGUSER": "u", "PGDATABASE": "d", "PGOPTIONS": "-c app.key=hidden -E"},
	} {
		environ["APP_ENV"] = "test"
		cfg := load(t, environ)
		if shown := fmt.Sprintf("%v %+v", cfg, cfg.Report()); strings.Contains(shown, "hidden") ||
			!strings.Contains(shown, "app.key") {
			t.Error(shown)
		}
		equal(t, "app.key", must[*pgxpool.Config](t)(cfg.PoolConfig()).ConnConfig.RuntimeParams["app.key"], "hidden")
	}
}

// TestMisplacedURL: a URL in a variable for a name is refused, and not shown.
func TestMisplacedURL(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"PGDATABASE", "PGUSER"} {
		environ := env{"APP_ENV": "development", "PGUSER": "u", "PGDATABASE": "d"}
		environ[name] = "postgres://u:hunter2@h/db"
		text := refused(t, pgconfig.Source{Environ: environ})
		equal(t, name, text, name+" is a connection string, not a name: put it into DATABASE_URL")
	}
}
