module github.com/page-builder/persistence/lab/scale

go 1.25.0
