module github.com/page-builder/persistence/tools/mutants

go 1.25.0
