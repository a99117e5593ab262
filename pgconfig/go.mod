module github.com/page-builder/persistence/pgconfig

go 1.25.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/jackc/pgpassfile v1.0.0
	github.com/jackc/pgx/v5 v5.12.0
	github.com/page-builder/persistence/pgtest/pgserver v0.1.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

replace github.com/page-builder/persistence/pgtest/pgserver => ../pgtest/pgserver
