#!/bin/sh
# pgxpool.sh runs pgx's own tests of pgxpool on pools that pgpool makes.
#
#   lab/clients/pgxpool.sh [go test flags]
#
# It copies the version of pgx that pgpool requires from the module cache to a temporary folder, makes
# the tests call pgpool.ConnectConfig, and runs them on the server of PGX_TEST_DATABASE, or on a
# development server of its own. Nothing is written to this repository. PLAIN=1 runs the tests as they
# are, to compare.
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
pgx=$(GOWORK=off go -C pgpool list -m -f '{{.Dir}}' github.com/jackc/pgx/v5)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$pgx/." "$work"
chmod -R u+w "$work"

if [ -z "${PGX_TEST_DATABASE:-}" ]; then
	PGX_TEST_DATABASE=$(go run ./pgtest/pgserver/cmd/pgserver start -name lab-clients)
	trap 'cd "$root"; rm -rf "$work"; go run ./pgtest/pgserver/cmd/pgserver remove -name lab-clients' EXIT
	export PGX_TEST_DATABASE
fi

cd "$work"
if [ -z "${PLAIN:-}" ]; then
	mkdir pgxpool/ours
	cat >pgxpool/ours/ours.go <<'GO'
// Package ours makes pools with pgpool.
package ours

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool"
)

// New is pgxpool.New with pgpool.
func New(ctx context.Context, url string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	return NewWithConfig(ctx, cfg)
}

// NewWithConfig is pgxpool.NewWithConfig with pgpool.
func NewWithConfig(ctx context.Context, cfg *pgxpool.Config) (*pgxpool.Pool, error) {
	return pgpool.ConnectConfig(ctx, cfg, pgpool.WithLogger(nil))
}
GO
	for file in pgxpool/*_test.go; do
		grep -q 'pgxpool\.New' "$file" || continue
		sed -i.bak -e 's/pgxpool\.New(/ours.New(/g' -e 's/pgxpool\.NewWithConfig(/ours.NewWithConfig(/g' \
			-e 's|^\(.*\)"github.com/jackc/pgx/v5/pgxpool"$|&\n\1"github.com/jackc/pgx/v5/pgxpool/ours"|' "$file"
		rm "$file.bak"
		grep -q 'pgxpool\.[A-Z]' "$file" || sed -i '\|"github.com/jackc/pgx/v5/pgxpool"$|d' "$file"
	done
	for module in pgpool pgconfig pgerr pgtest/pgserver; do
		go mod edit -replace "github.com/page-builder/persistence/$module=$root/$module"
	done
	go mod edit -require github.com/page-builder/persistence/pgpool@v0.0.0
	GOWORK=off GOFLAGS=-mod=mod go mod tidy >/dev/null 2>&1 || GOWORK=off GOFLAGS=-mod=mod go mod tidy
fi
if [ -n "${PLAIN:-}" ]; then
	go test -count=1 ./pgxpool "$@"
	exit
fi
# These differ by design: pgpool/BEHAVIOR.md says why. The first four replace connecting by something
# that does not take the connections that ConnectConfig makes first.
GOWORK=off GOFLAGS=-mod=mod go test -count=1 -skip "$(tr -d ' \t\n' <<LIST
	TestPoolInitialConnectionError|
	TestPoolBackgroundConnectionsContext|
	TestPoolAcquireCanceledDuringStalledPing|
	TestConstructorIgnoresContext|
	TestConnectEagerlyReachesMinPoolSize|
	TestConnectConfigRequiresConnConfigFromParseConfig|
	TestConnectConfig$|
	TestPoolAcquireChecksIdleConns
LIST
)" ./pgxpool "$@"
