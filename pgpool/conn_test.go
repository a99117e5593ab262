package pgpool_test

import (
	"context"
	"errors"
	"testing"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/internal/pgbouncer"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

func TestConnectOne(t *testing.T) {
	t.Parallel()
	config := database(t).ConnConfig
	asked := 0
	conn, err := pgpool.ConnectOne(t.Context(), config, pgpool.WithPassword(func(context.Context) (string, error) { asked++; return "any", nil }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.Ping(t.Context()); err != nil || asked != 1 {
		t.Errorf("the connection answers %v, the password was asked for %d times", err, asked)
	}
	refused := errors.New("the vault is closed")
	_, err = pgpool.ConnectOne(t.Context(), config, pgpool.WithPassword(func(context.Context) (string, error) { return "", refused }))
	if !errors.Is(err, refused) {
		t.Errorf("without a password: %v", err)
	}
	if _, err := pgpool.ConnectOne(t.Context(), nil); err == nil {
		t.Error("connected to nothing")
	}
}

// A replica's pool behind PgBouncer is not asked to send what PgBouncer refuses: it connects at the
// first attempt.
func TestConfigOfReplicas(t *testing.T) {
	t.Parallel()
	server := pgserver.Database(t)
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: map[string]string{
		"APP_ENV": "test", "DATABASE_URL": server, "DATABASE_PGBOUNCER": "true", "DATABASE_REPLICA_URLS": pgbouncer.Start(t, server),
	}})
	if err != nil {
		t.Fatal(err)
	}
	replicas, err := cfg.ReplicaConfigs()
	if err != nil {
		t.Fatal(err)
	}
	var log logs
	connect(t, replicas[0], pgpool.WithConfig(cfg), pgpool.WithLogger(log.logger()))
	if len(log.lines("attempts=1 ")) != 1 || len(log.lines("WARN")) != 0 {
		t.Errorf("it did not connect at the first attempt:\n%s", &log)
	}
}
