module github.com/page-builder/persistence/examples/pages

go 1.25.0

require (
	github.com/chromedp/chromedp v0.14.2
	github.com/go-chi/chi/v5 v5.5.0
	github.com/jackc/pgx/v5 v5.12.0
	github.com/joho/godotenv v1.5.1
	github.com/page-builder/persistence/migrations v0.1.0
	github.com/page-builder/persistence/pgconfig v0.1.0
	github.com/page-builder/persistence/pghealth v0.1.0
	github.com/page-builder/persistence/pgmigrate v0.1.0
	github.com/page-builder/persistence/pgpool v0.1.0
	github.com/page-builder/persistence/pgquery v0.1.0
	github.com/page-builder/persistence/pgtest v0.1.0
	github.com/page-builder/persistence/pgtest/pgserver v0.1.0
	github.com/page-builder/persistence/pgtx v0.1.0
	github.com/prometheus/client_golang v1.23.2
	github.com/yuin/goldmark v1.8.7
	go.opentelemetry.io/otel v1.43.0
	go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp v1.43.0
	go.opentelemetry.io/otel/sdk v1.43.0
	go.opentelemetry.io/otel/sdk/metric v1.43.0
	go.opentelemetry.io/otel/trace v1.43.0
	go.yaml.in/yaml/v2 v2.4.4
	golang.org/x/sync v0.22.0
)

require (
	dario.cat/mergo v1.0.1 // indirect
	github.com/Masterminds/goutils v1.1.1 // indirect
	github.com/Masterminds/semver/v3 v3.3.0 // indirect
	github.com/Masterminds/sprig/v3 v3.3.0 // indirect
	github.com/alexliesenfeld/health v0.8.1 // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/chromedp/cdproto v0.0.0-20250724212937-08a3db8b4327 // indirect
	github.com/chromedp/sysutil v1.1.0 // indirect
	github.com/exaring/otelpgx v0.13.0 // indirect
	github.com/go-json-experiment/json v0.0.0-20250725192818-e39067aee2d2 // indirect
	github.com/go-logr/logr v1.4.3 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/gobwas/httphead v0.1.0 // indirect
	github.com/gobwas/pool v0.2.1 // indirect
	github.com/gobwas/ws v1.4.0 // indirect
	github.com/grpc-ecosystem/grpc-gateway/v2 v2.28.0 // indirect
	github.com/huandu/xstrings v1.5.0 // indirect
	github.com/jackc/pgxlisten v0.0.0-20241106001234-1d6f6656415c // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/jackc/tern/v2 v2.3.4 // indirect
	github.com/mitchellh/copystructure v1.2.0 // indirect
	github.com/mitchellh/reflectwalk v1.0.2 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/peterldowns/pgtestdb v0.1.1 // indirect
	github.com/prometheus/client_model v0.6.2 // indirect
	github.com/prometheus/common v0.67.5 // indirect
	github.com/prometheus/otlptranslator v1.0.0 // indirect
	github.com/prometheus/procfs v0.20.1 // indirect
	github.com/shopspring/decimal v1.4.0 // indirect
	github.com/spf13/cast v1.7.0 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel/exporters/otlp/otlptrace v1.43.0 // indirect
	go.opentelemetry.io/otel/metric v1.43.0 // indirect
	go.opentelemetry.io/proto/otlp v1.10.0 // indirect
	golang.org/x/crypto v0.49.0 // indirect
	golang.org/x/net v0.52.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20260401024825-9d38bb4040a9 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260401024825-9d38bb4040a9 // indirect
	google.golang.org/grpc v1.80.0 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
)

require (
	github.com/google/uuid v1.6.0
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/page-builder/persistence/pgerr v0.1.0
	github.com/page-builder/persistence/pgotel v0.1.0
	github.com/sethvargo/go-retry v0.5.0 // indirect
	go.opentelemetry.io/otel/exporters/prometheus v0.65.0
	golang.org/x/text v0.41.0 // indirect
)

replace github.com/page-builder/persistence/pgerr => ../../pgerr

replace github.com/page-builder/persistence/pgconfig => ../../pgconfig

replace github.com/page-builder/persistence/pgpool => ../../pgpool

replace github.com/page-builder/persistence/pgtx => ../../pgtx

replace github.com/page-builder/persistence/pghealth => ../../pghealth

replace github.com/page-builder/persistence/pgmigrate => ../../pgmigrate

replace github.com/page-builder/persistence/pgtest => ../../pgtest

replace github.com/page-builder/persistence/pgtest/pgserver => ../../pgtest/pgserver

replace github.com/page-builder/persistence/migrations => ../../migrations

replace github.com/page-builder/persistence/pgquery => ../../pgquery

replace github.com/page-builder/persistence/pgotel => ../../pgotel
