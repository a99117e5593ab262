package pgconfig_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgconfig"
)

func ExampleLoad() {
	cfg, err := pgconfig.Load()
	if err != nil {
		log.Fatal(err) // everything that is wrong, no secret in it
	}
	slog.Info("configured", "database", cfg)

	pc, err := cfg.PoolConfig()
	if err != nil {
		log.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), pc)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
}

// A program with a second database reads it with a prefix: ANALYTICS_DATABASE_URL, ANALYTICS_DATABASE_POOL_MAX_CONNS and so on.
func ExampleLoadFrom() {
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{
		Prefix: "ANALYTICS",
		Environ: map[string]string{
			"APP_ENV":                "production",
			"ANALYTICS_DATABASE_URL": "postgres://reader:hunter2@stats.example.com/stats",
		},
	})
	fmt.Println(cfg, err)
	// Output: pgconfig.Config{postgres://reader:****@stats.example.com:5432/stats?sslmode=verify-full APP_ENV=production} <nil>
}

func ExampleParse() {
	cfg, err := pgconfig.Parse("postgres://app:hunter2@localhost/shop")
	fmt.Println(cfg, err)
	fmt.Println(cfg.Environment, cfg.MaxConns, cfg.StatementTimeout)
	// Output:
	// pgconfig.Config{postgres://app:****@localhost:5432/shop?sslmode=prefer} <nil>
	// development 4 1m0s
}

// All problems come at once, with the corrected form and without the secret.
func ExampleError() {
	_, err := pgconfig.LoadFrom(pgconfig.Source{Environ: map[string]string{
		"APP_ENV":                  "production",
		"DATABASE_URL":             "postgres://app:hunter2@x/y@db.example.com/shop",
		"DATABASE_ACQUIRE_TIMEOUT": "5",
	}})
	fmt.Println(err)
	// Output:
	// load database configuration: 2 problems
	//   DATABASE_URL has a special character in the password (or elsewhere) that is not percent-encoded: write @ as %40, / as %2F, so that it reads postgres://app:****@db.example.com/shop
	//   DATABASE_ACQUIRE_TIMEOUT has no unit: write 5s, 500ms, 10m, or off
}

func ExampleConfig_Report() {
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: map[string]string{
		"DATABASE_URL": "postgres://app@localhost/shop?connection_limit=5", "PGPASSWORD": "hunter2",
	}})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range cfg.Report()[:8] {
		if s.Value != "" {
			fmt.Printf("%s = %s (%s)\n", s.Key, s.Value, s.Source)
		}
	}
	// Output:
	// APP_ENV = development (default)
	// DATABASE_URL = postgres://app:****@localhost:5432/shop?sslmode=prefer (environment)
	// DATABASE_URL password = **** (PGPASSWORD (environment))
	// DATABASE_POOL_MAX_CONNS = 5 (connection_limit in DATABASE_URL)
}

// A single connection that does not go through PgBouncer, for migrations or LISTEN.
func ExampleConfig_DirectConfig() {
	cfg, err := pgconfig.Load()
	if err != nil {
		log.Fatal(err)
	}
	cc, err := cfg.DirectConfig()
	if err != nil {
		log.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(context.Background(), cc)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(context.Background())
}

func ExampleSecret() {
	password := pgconfig.Secret("hunter2")
	slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})).Info("rotated", "password", password)
	fmt.Printf("%v %q %x\n", password, password, password)
	fmt.Println(string(password) == "hunter2")
	// Output:
	// level=INFO msg=rotated password=****
	// **** "****" ****
	// true
}
