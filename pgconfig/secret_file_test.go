package pgconfig_test

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/page-builder/persistence/pgconfig"
)

// TestSecretFile: reading a file again uses the same parser and variables as the first time.
func TestSecretFile(t *testing.T) {
	t.Parallel()
	urlFile := file(t, "url", "postgres://db/shop?sslcert="+file(t, "root.crt", authority(t))+"&sslmode=prefer\n")
	passwordFile := file(t, "password", "one\n")
	home := t.TempDir()
	write(t, home+"/.pgpass", "db:5432:shop:app:one\n")
	write(t, home+"/.pg_service.conf", "[web]\nhost=db\ndbname=shop\n")
	for _, test := range []struct {
		name     string
		environ  env
		path     string
		rotate   func()
		user     string
		password string
	}{
		{
			"URL with PGUSER and PGPASSWORD",
			env{"DATABASE_URL_FILE": urlFile, "PGUSER": "app", "PGPASSWORD": "mine"},
			urlFile, func() {}, "app", "mine",
		},
		{
			"URL with a new login",
			env{"DATABASE_URL_FILE": urlFile, "PGUSER": "app"},
			urlFile, func() { write(t, urlFile, "postgres://web:two@db/shop?sslmode=disable") }, "web", "two",
		},
		{
			"password",
			env{"DATABASE_URL": "postgres://app@db/shop", "DATABASE_PASSWORD_FILE": passwordFile},
			passwordFile, func() { write(t, passwordFile, "two\n") }, "app", "two",
		},
		{
			"password and a service",
			env{"PGSERVICE": "web", "PGUSER": "app", "DATABASE_PASSWORD_FILE": passwordFile, "HOME": home},
			passwordFile, func() { write(t, passwordFile, "three") }, "app", "three",
		},
		{
			"pass file",
			env{"DATABASE_URL": "postgres://app@db/shop", "HOME": home},
			home + "/.pgpass", func() { write(t, home+"/.pgpass", "db:5432:shop:app:two\n") }, "app", "two",
		},
	} {
		t.Run(test.name, func(t *testing.T) { // not parallel: they share files
			test.environ["APP_ENV"] = "test"
			secret := load(t, test.environ).SecretFile()
			equal(t, "path", secret.Path(), test.path)
			test.rotate()
			user, password, err := secret.Read()
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "user", user, test.user)
			equal(t, "password", password.Reveal(), test.password)
			equal(t, "shown", password.String(), "****")
		})
	}
}

// TestSecretFileConcurrently: the calls share nothing, as the race detector shows.
func TestSecretFileConcurrently(t *testing.T) {
	t.Parallel()
	secret := load(t, env{"DATABASE_URL_FILE": file(t, "url", "postgres://app:one@db/shop")}).SecretFile()
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			user, password, err := secret.Read()
			if user != "app" || password.Reveal() != "one" || err != nil {
				t.Errorf("got %s and %v", user, err)
			}
		})
	}
	calls.Wait()
}

// TestSecretFileIsBroken: the error says what is wrong, without the path or the content.
func TestSecretFileIsBroken(t *testing.T) {
	t.Parallel()
	passwordFile, urlFile := file(t, "hidden", "one"), file(t, "hidden", "postgres://app:one@db/shop")
	byPassword := load(t, env{
		"DATABASE_URL":           "postgres://app@db/shop",
		"DATABASE_PASSWORD_FILE": passwordFile,
	}).SecretFile()
	byURL := load(t, env{"DATABASE_URL_FILE": urlFile}).SecretFile()
	for _, test := range []struct {
		secret  *pgconfig.SecretFile
		content string
		want    string
	}{
		{byPassword, "", "DATABASE_PASSWORD_FILE names a file that is empty"},
		{byPassword, "hidden\nhidden", "DATABASE_PASSWORD_FILE names a file with more than one line"},
		{byPassword, "${hidden}", "DATABASE_PASSWORD_FILE is a placeholder like ${NAME}"},
		{byURL, "", "DATABASE_URL_FILE names a file that is empty"},
		{byURL, "postgres://app:hidden@hidden@db/shop", "DATABASE_URL_FILE has a special character in the password"},
		{byURL, "postgres://app@db/shop", "it holds no password for this connection"},
		{byURL, "postgres://app:hidden@other/shop", "it leads to another host, port or database than before"},
		{byURL, "postgres://app:hidden@db:1/shop", "it leads to another host, port or database than before"},
		{byURL, "postgres://app:hidden@db/other", "it leads to another host, port or database than before"},
		{byURL, "postgres://app:hidden@db,db/shop", "it leads to another host, port or database than before"},
		{byURL, strings.Repeat("h", 64<<10+1), "DATABASE_URL_FILE names a file that cannot be read"},
	} {
		write(t, test.secret.Path(), test.content)
		user, password, err := test.secret.Read()
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hidden") ||
			user != "" || password.Reveal() != "" {
			t.Errorf("got %v, want %q", err, test.want)
		}
	}
	for _, path := range []string{passwordFile, urlFile} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, secret := range []*pgconfig.SecretFile{byPassword, byURL} {
		if _, _, err := secret.Read(); err == nil || !strings.Contains(err.Error(),
			"names a file that does not exist") {
			t.Errorf("got %v", err)
		}
	}
	text := refused(t, pgconfig.Source{Environ: env{
		"DATABASE_URL":           "postgres://app@db/shop",
		"DATABASE_PASSWORD_FILE": file(t, "p", "<password>"),
	}})
	if !strings.Contains(text, "DATABASE_PASSWORD_FILE is a placeholder like <password>") {
		t.Error(text)
	}
}

// TestSecretFiles: a connection with its own password has no file.
func TestSecretFiles(t *testing.T) {
	t.Parallel()
	path := file(t, "password", "one")
	cfg := load(t, env{
		"DATABASE_URL": "postgres://app@db/shop", "DATABASE_PASSWORD_FILE": path,
		"DIRECT_DATABASE_URL":   "postgres://app:own@db/shop",
		"DATABASE_REPLICA_URLS": "postgres://app:own@r1/shop,postgres://app@r2/shop",
	})
	equal(t, "main", cfg.SecretFile().Path(), path)
	equal(t, "direct", cfg.DirectSecretFile() == nil, true)
	equal(t, "first replica", cfg.Replicas()[0].SecretFile() == nil, true)
	equal(t, "second replica", cfg.Replicas()[1].SecretFile().Path(), path)
	cfg = load(t, env{"DATABASE_URL": "postgres://app@db/shop", "DATABASE_PASSWORD_FILE": path})
	equal(t, "direct without its own URL", cfg.DirectSecretFile().Path(), path)
	equal(t, "none", load(t, env{"DATABASE_URL": "postgres://app:own@db/shop"}).SecretFile() == nil, true)
	var zero pgconfig.Config
	equal(t, "zero", zero.SecretFile() == nil && zero.DirectSecretFile() == nil && zero.Replicas() == nil,
		true)
}
