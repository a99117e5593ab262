module github.com/page-builder/persistence/examples/shop

go 1.25.0

replace github.com/page-builder/persistence/pgconfig => ../../pgconfig

replace github.com/page-builder/persistence/pgerr => ../../pgerr

replace github.com/page-builder/persistence/pghealth => ../../pghealth

replace github.com/page-builder/persistence/pgmage => ../../pgmage

replace github.com/page-builder/persistence/pgmigrate => ../../pgmigrate

replace github.com/page-builder/persistence/pgotel => ../../pgotel

replace github.com/page-builder/persistence/pgpool => ../../pgpool

replace github.com/page-builder/persistence/pgquery => ../../pgquery

replace github.com/page-builder/persistence/pgstudio => ../../pgstudio

replace github.com/page-builder/persistence/pgtest => ../../pgtest

replace github.com/page-builder/persistence/pgtx => ../../pgtx

replace github.com/page-builder/persistence/pgmigrate/dev => ../../pgmigrate/dev

replace github.com/page-builder/persistence/pgtest/pgserver => ../../pgtest/pgserver

require (
	github.com/alexliesenfeld/health v0.8.1
	github.com/jackc/pgx/v5 v5.12.0
	github.com/page-builder/persistence/pgconfig v0.1.0
	github.com/page-builder/persistence/pgerr v0.1.0
	github.com/page-builder/persistence/pghealth v0.1.0
	github.com/page-builder/persistence/pgmage v0.1.0
	github.com/page-builder/persistence/pgotel v0.1.0
	github.com/page-builder/persistence/pgpool v0.1.0
	github.com/page-builder/persistence/pgquery v0.1.0
	github.com/page-builder/persistence/pgtest v0.1.0
	github.com/page-builder/persistence/pgtest/pgserver v0.1.0
	github.com/page-builder/persistence/pgtx v0.1.0
	github.com/prometheus/client_golang v1.23.2
	go.opentelemetry.io/otel/exporters/prometheus v0.65.0
	go.opentelemetry.io/otel/sdk/metric v1.43.0
)

require (
	dario.cat/mergo v1.0.1 // indirect
	github.com/Masterminds/goutils v1.1.1 // indirect
	github.com/Masterminds/semver/v3 v3.3.0 // indirect
	github.com/Masterminds/sprig/v3 v3.3.0 // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/exaring/otelpgx v0.13.0 // indirect
	github.com/go-logr/logr v1.4.3 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/huandu/xstrings v1.5.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/pgxlisten v0.0.0-20241106001234-1d6f6656415c // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/jackc/tern/v2 v2.3.4 // indirect
	github.com/magefile/mage v1.17.2 // indirect
	github.com/mitchellh/copystructure v1.2.0 // indirect
	github.com/mitchellh/reflectwalk v1.0.2 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/page-builder/persistence/pgmigrate v0.1.0 // indirect
	github.com/peterldowns/pgtestdb v0.1.1 // indirect
	github.com/prometheus/client_model v0.6.2 // indirect
	github.com/prometheus/common v0.67.5 // indirect
	github.com/prometheus/otlptranslator v1.0.0 // indirect
	github.com/prometheus/procfs v0.20.1 // indirect
	github.com/sethvargo/go-retry v0.5.0 // indirect
	github.com/shopspring/decimal v1.4.0 // indirect
	github.com/spf13/cast v1.7.0 // indirect
	github.com/spf13/cobra v1.8.0 // indirect
	github.com/spf13/pflag v1.0.5 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel v1.43.0 // indirect
	go.opentelemetry.io/otel/metric v1.43.0 // indirect
	go.opentelemetry.io/otel/sdk v1.43.0 // indirect
	go.opentelemetry.io/otel/trace v1.43.0 // indirect
	go.yaml.in/yaml/v2 v2.4.4 // indirect
	golang.org/x/crypto v0.46.0 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.41.0 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
)

tool (
	github.com/magefile/mage
	github.com/page-builder/persistence/pgmigrate/cmd/pgmigrate
	github.com/page-builder/persistence/pgpool/cmd/pgdoctor
	github.com/page-builder/persistence/pgtest/cmd/pgtest
	github.com/page-builder/persistence/pgtest/pgserver/cmd/pgserver
)
