module github.com/page-builder/persistence/lab/cluster

go 1.25.0

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/page-builder/persistence/migrations v0.1.0
	github.com/page-builder/persistence/pgconfig v0.1.0
	github.com/page-builder/persistence/pgerr v0.1.0
	github.com/page-builder/persistence/pghealth v0.1.0
	github.com/page-builder/persistence/pgmigrate v0.1.0
	github.com/page-builder/persistence/pgpool v0.1.0
	github.com/page-builder/persistence/pgquery v0.1.0
	github.com/page-builder/persistence/pgtest/pgserver v0.1.0
	github.com/page-builder/persistence/pgtx v0.1.0
	go.uber.org/goleak v1.3.0
	golang.org/x/sync v0.22.0
)

require (
	dario.cat/mergo v1.0.1 // indirect
	github.com/Masterminds/goutils v1.1.1 // indirect
	github.com/Masterminds/semver/v3 v3.3.0 // indirect
	github.com/Masterminds/sprig/v3 v3.3.0 // indirect
	github.com/alexliesenfeld/health v0.8.1 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/huandu/xstrings v1.5.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/pgxlisten v0.0.0-20241106001234-1d6f6656415c // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/jackc/tern/v2 v2.3.4 // indirect
	github.com/mitchellh/copystructure v1.2.0 // indirect
	github.com/mitchellh/reflectwalk v1.0.2 // indirect
	github.com/sethvargo/go-retry v0.5.0 // indirect
	github.com/shopspring/decimal v1.4.0 // indirect
	github.com/spf13/cast v1.7.0 // indirect
	golang.org/x/crypto v0.46.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

replace github.com/page-builder/persistence/pgtest/pgserver => ../../pgtest/pgserver

replace github.com/page-builder/persistence/pgconfig => ../../pgconfig

replace github.com/page-builder/persistence/pgerr => ../../pgerr

replace github.com/page-builder/persistence/pghealth => ../../pghealth

replace github.com/page-builder/persistence/pgmigrate => ../../pgmigrate

replace github.com/page-builder/persistence/pgpool => ../../pgpool

replace github.com/page-builder/persistence/pgtx => ../../pgtx

replace github.com/page-builder/persistence/migrations => ../../migrations

replace github.com/page-builder/persistence/pgquery => ../../pgquery
