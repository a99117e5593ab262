package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// A tunnel has a local address, and the server behind it may be any.
func TestResetThroughTunnel(t *testing.T) {
	dir := t.TempDir()
	body := "create table a (id int);\n---- create above / drop below ----\ndrop table a;"
	if err := os.WriteFile(filepath.Join(dir, "1_a.sql"), []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
	direct := pgserver.Database(t)
	config, err := pgx.ParseConfig(direct)
	if err != nil {
		t.Fatal(err)
	}
	proxy := fault.NewProxy(t, direct, fault.Options{})
	t.Setenv("DATABASE_URL", proxy.URL())
	t.Setenv("APP_ENV", "development")
	for _, test := range []struct {
		confirm, want string
		code          int
	}{
		{"", "add --confirm " + config.Database, exitUsage},
		{"another", "add --confirm " + config.Database, exitUsage},
		{config.Database, "", 0},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), []string{"reset", "--dir", dir, "--confirm", test.confirm}, &stdout, &stderr)
		if code != test.code || !strings.Contains(stderr.String(), test.want) {
			t.Errorf("--confirm %q: exit code %d, %s", test.confirm, code, stderr.String())
		}
	}
	t.Setenv("DATABASE_URL", direct)
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"reset", "--dir", dir}, &stdout, &stderr); code != 0 {
		t.Errorf("direct: exit code %d, %s", code, stderr.String())
	}
}
