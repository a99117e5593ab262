package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	for _, c := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{nil, 2, "usage"},
		{[]string{"sweep"}, 2, "usage"},
		{[]string{"list", "all"}, 2, "usage"},
		{[]string{"list"}, 0, ""},
		{[]string{"clean"}, 0, ""},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), c.args, &stdout, &stderr); code != c.code || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%q: status %d, %q", c.args, code, stderr.String())
		}
	}
	t.Setenv("PGTEST_URL", "postgres://u:s3cretword@db.example.com/postgres")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"list"}, &stdout, &stderr); code != 1 || strings.Contains(stderr.String(), "s3cretword") {
		t.Errorf("status %d, %q", code, stderr.String())
	}
}
