module github.com/page-builder/persistence/pgmage

go 1.25.0
