module github.com/page-builder/persistence

go 1.25.0
