module github.com/page-builder/persistence/tools/cover

go 1.25.0
