module github.com/page-builder/persistence/pgotel

go 1.25.0

require (
	github.com/exaring/otelpgx v0.13.0
	github.com/jackc/pgx/v5 v5.12.0
	github.com/page-builder/persistence/pgconfig v0.1.0
	github.com/page-builder/persistence/pgerr v0.1.0
	github.com/page-builder/persistence/pgpool v0.1.0
	github.com/page-builder/persistence/pgtest/pgserver v0.1.0
	github.com/page-builder/persistence/pgtx v0.1.0
	go.opentelemetry.io/otel v1.43.0
	go.opentelemetry.io/otel/metric v1.43.0
	go.opentelemetry.io/otel/sdk v1.43.0
	go.opentelemetry.io/otel/sdk/metric v1.43.0
	go.opentelemetry.io/otel/trace v1.43.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-logr/logr v1.4.3 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/sethvargo/go-retry v0.5.0 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.42.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

replace github.com/page-builder/persistence/pgpool => ../pgpool

replace github.com/page-builder/persistence/pgtx => ../pgtx

replace github.com/page-builder/persistence/pgerr => ../pgerr

replace github.com/page-builder/persistence/pgconfig => ../pgconfig

replace github.com/page-builder/persistence/pgtest/pgserver => ../pgtest/pgserver
