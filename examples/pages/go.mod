module github.com/page-builder/persistence/examples/pages

go 1.25.0

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/page-builder/persistence/migrations v0.1.0
	github.com/page-builder/persistence/pgtest/pgserver v0.1.0
	github.com/page-builder/persistence/pgtx v0.1.0
)

require (
	github.com/google/uuid v1.6.0
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/page-builder/persistence/pgerr v0.1.0 // indirect
	github.com/sethvargo/go-retry v0.5.0 // indirect
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
