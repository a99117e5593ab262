module github.com/page-builder/persistence/pgpool

go 1.25.0

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/jackc/puddle/v2 v2.2.3
	github.com/page-builder/persistence/pgconfig v0.1.0
	github.com/page-builder/persistence/pgerr v0.1.0
	github.com/page-builder/persistence/pgtest/pgserver v0.1.0
	github.com/sethvargo/go-retry v0.5.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/pgxlisten v0.0.0-20241106001234-1d6f6656415c
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

replace github.com/page-builder/persistence/pgconfig => ../pgconfig

replace github.com/page-builder/persistence/pgerr => ../pgerr

replace github.com/page-builder/persistence/pgtest/pgserver => ../pgtest/pgserver

tool github.com/page-builder/persistence/pgpool/cmd/pgdoctor
