package pghealth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	pool, _ := newUnusedPool(t)
	tests := map[string]struct {
		pool *pgxpool.Pool
		opts pghealth.Options
		want string
	}{
		"no pool":          {nil, pghealth.Options{}, "the pool is nil"},
		"negative timeout": {pool, pghealth.Options{Timeout: -1}, "the timeout is -1ns"},
		"long timeout":     {pool, pghealth.Options{Timeout: 1200 * time.Hour}, "an hour at most"},
		"no UTF-8":         {pool, pghealth.Options{Name: "\xff"}, "is not UTF-8"},
		"no replica":       {pool, pghealth.Options{Primary: pool}, "there is no check of a replica's lag"},
		"no listener":      {pool, pghealth.Options{MaxListenerDown: 1}, "there is no listener"},
		"negative lag":     {pool, pghealth.Options{MaxReplicaLag: -1}, "a limit is negative"},
		"warning alone": {
			pool,
			pghealth.Options{WarnReplicaLag: time.Second},
			"there is no check of a replica's lag",
		},
		"colon": {pool, pghealth.Options{Name: "a:b"}, `"a:b" contains a colon`},
	}
	for name, test := range tests {
		_, err := pghealth.New(test.pool, test.opts)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	probe, err := pghealth.New(pool, pghealth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	if name := probe.Checks()[1].Name; name != "postgres:connectivity" {
		t.Error(name)
	}
}
