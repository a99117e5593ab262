package pgconfig_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgconfig"
)

func ExampleLoad() {
	defer set(map[string]string{"APP_ENV": "test", "DATABASE_URL": "postgres://app:hunter2@localhost/shop"})()

	cfg, err := pgconfig.Load()
	if err != nil {
		log.Print(err) // everything that is wrong, no secret in it
		return
	}
	pc, err := cfg.PoolConfig()
	if err != nil {
		log.Print(err)
		return
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), pc) // connects at the first query
	if err != nil {
		log.Print(err)
		return
	}
	defer pool.Close()
	fmt.Println(cfg.Environment, pool.Config().ConnConfig.Database)
	// Output: test shop
}

// set changes the environment of the process and returns a function that restores it.
func set(variables map[string]string) (restore func()) {
	before := os.Environ()
	os.Clearenv()
	for name, value := range variables {
		os.Setenv(name, value)
	}
	return func() {
		os.Clearenv()
		for _, variable := range before {
			name, value, _ := strings.Cut(variable, "=")
			os.Setenv(name, value)
		}
	}
}

// A program with a second database reads it with a prefix: ANALYTICS_DATABASE_URL,
// ANALYTICS_DATABASE_POOL_MAX_CONNS and so on.
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
	var wrong *pgconfig.Error
	if errors.As(err, &wrong) {
		fmt.Println(wrong.Problems[1].Key)
	}
	// Output:
	// load database configuration: 2 problems
	//   DATABASE_URL has a special character in the password (or elsewhere) that is not percent-encoded: write @ as %40, / as %2F, so that it reads postgres://app:****@db.example.com/shop
	//   DATABASE_ACQUIRE_TIMEOUT has no unit: write 5s, 500ms, 10m, or off
	// DATABASE_ACQUIRE_TIMEOUT
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
	// APP_ENV = production (default)
	// DATABASE_URL = postgres://app:****@localhost:5432/shop?sslmode=prefer (environment)
	// DATABASE_URL password = **** (PGPASSWORD (environment))
	// DATABASE_POOL_MAX_CONNS = 5 (connection_limit in DATABASE_URL)
}

// A single connection that does not go through PgBouncer, for migrations or LISTEN.
func ExampleConfig_DirectConfig() {
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: map[string]string{
		"DATABASE_URL":        "postgres://app:hunter2@localhost:6432/shop",
		"DATABASE_PGBOUNCER":  "true",
		"DIRECT_DATABASE_URL": "postgres://app:hunter2@localhost:5432/shop",
	}})
	if err != nil {
		log.Print(err)
		return
	}
	direct, err := cfg.DirectConfig() // for pgx.ConnectConfig, pgmigrate.New or pgpool.Listener
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(direct.Port)
	// Output: 5432
}

func ExampleConfig_PoolConfig() {
	cfg, err := pgconfig.Parse("postgres://app:hunter2@localhost/shop")
	if err != nil {
		log.Print(err)
		return
	}
	cfg.StatementTimeout = 10 * time.Second // limits may still be changed
	pc, err := cfg.PoolConfig()
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(pc.MaxConns, pc.ConnConfig.RuntimeParams["statement_timeout"])
	// Output: 4 10000
}

func ExampleConfig_ReplicaConfigs() {
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: map[string]string{
		"APP_ENV":               "production",
		"DATABASE_URL":          "postgres://app:hunter2@db.example.com/shop",
		"DATABASE_REPLICA_URLS": "postgres://app:hunter2@replica1.example.com/shop,postgres://app:hunter2@replica2.example.com/shop",
	}})
	if err != nil {
		log.Print(err)
		return
	}
	replicas, err := cfg.ReplicaConfigs() // package pgpool/replica makes pools of them
	for _, replica := range replicas {
		fmt.Println(replica.ConnConfig.Host)
	}
	fmt.Println(err)
	// Output:
	// replica1.example.com
	// replica2.example.com
	// <nil>
}

// The URL for a program that wants one, such as psql. It has the password: Reveal says that this is
// meant.
func ExampleConfig_URL() {
	cfg, err := pgconfig.Parse("postgres://app:hunter2@localhost/shop")
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(cfg.URL())
	fmt.Println(cfg.URL().Reveal())
	// Output:
	// ****
	// postgres://app:hunter2@localhost:5432/shop?sslmode=prefer
}

func ExampleSecret() {
	password := pgconfig.NewSecret("hunter2")
	slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})).Info("rotated", "password", password)
	fmt.Printf("%v %q %x\n", password, password, password)
	fmt.Println(password.Reveal() == "hunter2")
	// Output:
	// level=INFO msg=rotated password=****
	// **** "****" ****
	// true
}
