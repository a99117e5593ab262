package dsn_test

import (
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgconfig/internal/dsn"
)

// TestPlaceholder: an unreplaced placeholder is named but not shown.
func TestPlaceholder(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"postgresql://postgres:[YOUR-PASSWORD]@db.abc.supabase.co:5432/postgres": "has a password that is a " +
			"placeholder like [YOUR-PASSWORD]",
		"postgres://postgres.abc:[DB PASSWORD]@h/d": "contains a space",
		"postgres://u:%5BYOUR-PASSWORD%5D@h/d": "has a password that is a " +
			"placeholder like [YOUR-PASSWORD]",
		"postgres://postgres.[YOUR-REF]:p@h/d": "has a user that is a " +
			"placeholder like [YOUR-PASSWORD]",
		"postgres://postgres.abc:p@aws-0-[REGION].pooler.supabase.com:6543/postgres": "has a host that is a " +
			"placeholder like [YOUR-PASSWORD]",
		"postgres://u:${DB_PASSWORD}@h/d": "has a password that is a " +
			"placeholder like ${NAME}",
		"postgres://u:${DB_PASSWORD:-x}@h/d":                 "has a password that is a placeholder like ${NAME}",
		"postgres://u:$db_password@h/d":                      "has a password that is a placeholder like $NAME",
		"postgres://u:__DB_PASSWORD__@h/d":                   "has a password that is a placeholder like __NAME__",
		"postgres://u:%23{DB_PASSWORD}@h/d":                  "has a password that is a placeholder like #{NAME}",
		"postgres://u:op%3A%2F%2Fv%2Fi%2Ff@h/d":              "has a password that is a placeholder like op://vault/item/field",
		"postgres://u:%24%7B%7B%20secrets.PASS%20%7D%7D@h/d": "has a password that is a placeholder like {{ NAME }}",
		"postgres://u:%40Microsoft.KeyVault(x)@h/d":          "has a password that is a placeholder like @Microsoft.KeyVault(…)",
		"postgres://u:{password}@h/d":                        "has a password that is a placeholder like {name}",
		"postgres://u:YOUR_PASSWORD_HERE@h/d":                "has a password that is a placeholder like PASSWORD",
		"postgres://u:[your_password_123]@h/d":               "has a password that is a placeholder like [YOUR-PASSWORD]",
		"postgres://u:%25DB_PASSWORD%25@h/d":                 "has a password that is a placeholder like %NAME%",
		"postgres://u:$(DB_PASSWORD)@h/d": "has a password that is a " +
			"placeholder like $(NAME)",
		"postgres://u:$DB_PASSWORD@h/d": "has a password that is a " +
			"placeholder like $NAME",
		"postgres://u:<password>@h/d": "has a password that is a " +
			"placeholder like <password>",
		"postgres://u:{{password}}@h/d": "has a password that is a " +
			"placeholder like {{ NAME }}",
		"postgres://u:PASSWORD@h/d": "has a password that is a " +
			"placeholder like PASSWORD",
		"postgres://u:your_password@h/d": "has a password that is a " +
			"placeholder like PASSWORD",
		"postgres://u:****@h/d": "has a password that is a " +
			"placeholder like ****",
		"postgres://${DB_USER}:p@h/d": "has a user that is a " +
			"placeholder like ${NAME}",
		"postgres://u:p@${DB_HOST}/d": "has a host that is a " +
			"placeholder like ${NAME}",
		"postgres://u:p@<host>:5432/d": "has a host that is a " +
			"placeholder like <password>",
		"postgres://u:p@HOST:5432/d": "has a host that is a " +
			"placeholder like PASSWORD",
		"postgres://u:p@h/DATABASE": "has a database name that is " +
			"a placeholder like PASSWORD",
		"host=$(PGHOST) user=u": "has a host that is a " +
			"placeholder like $(NAME)",
		"postgres://username:password@hostname:5432/dbname": "is an example, not an address",
		"postgres://user:password@host:5432/database":       "is an example, not an address",
		"host=host user=user password=password":             "is an example, not an address",
		"${DATABASE_URL}":                                   "is a placeholder",
		"$(DATABASE_URL)":                                   "is a placeholder",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			got := describe(text)
			if !strings.HasPrefix(got, "problem: "+want) || strings.Contains(got, "\n") {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	for _, text := range []string{
		"postgres://user:password@db/d", "postgres://user:pass@host/d", "postgres://app:password@host/d",
		"postgres://user:password@/d",
	} {
		if _, problems := dsn.Parse(text); len(problems) > 0 {
			t.Errorf("%q: %v", text, problems)
		}
	}
	for _, password := range []string{
		"[abc]", "<ab>", "x${A}", "$(A)y", "$ABC", "***", "password", "a[YOUR-PASSWORD]",
		"{{", "$", "Password",
	} {
		d, problems := dsn.Parse(dsn.Join(map[string]string{"user": "u", "password": password}))
		if len(problems) > 0 || d.Password != password {
			t.Errorf("%q: %v", password, problems)
		}
	}
}

// TestMisplaced: a connection string in place of a name is not shown.
func TestMisplaced(t *testing.T) {
	t.Parallel()
	const user = "has a user that is a connection string, not a name: put it into DATABASE_URL"
	const database = "has a database name that is a connection string, not a name: put it into DATABASE_URL"
	for text, want := range map[string]string{
		"host=h dbname=postgres://u:hunter2@h/db":              database,
		"host=h dbname='host=h password=hunter2'":              database,
		"host=h user=postgres://u:hunter2@h/db":                user,
		"postgres://postgres%3A%2F%2Fu%3Ahunter2%40h%2Fdb@h/":  user,
		"postgres://u@h/postgres%3A%2F%2Fu%3Ahunter2%40h%2Fdb": database,
	} {
		d, problems := dsn.Parse(text)
		if len(problems) != 1 || problems[0].Sentence()+": "+problems[0].Hint != want ||
			strings.Contains(d.Masked(), "hunter2") {
			t.Errorf("%s: %v, %s", text, problems, d.Masked())
		}
	}
}

func TestAdvice(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"x.proxy-abc.eu-west-1.rds.amazonaws.com": "sslrootcert=system",
		"db.abc.eu-west-1.RDS.amazonaws.com.":     "global-bundle.pem",
		"x.postgres.database.azure.com":           "sslrootcert=system",
		"ep-x.eu-central-1.aws.neon.tech":         "sslrootcert=system",
		"db.abc.supabase.co":                      "/path/to/ca.crt", "ec2-1-2.compute-1.amazonaws.com": "DATABASE_ALLOW_INSECURE_TLS=true",
		"dpg-abc123-a": "DATABASE_ALLOW_INSECURE_TLS=true", "dpg-abc123-a.frankfurt-postgres.render.com": "sslrootcert=system",
		"db.abc.rds.cn-north-1.rds.amazonaws.com.cn": "/path/to/ca.crt",
		"db.example.com": "", "neon.tech": "", "proxy-x.example.com": "",
	} {
		if got := dsn.Advice(host); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: %q", host, got)
		}
	}
}
