// Package pgmage holds Mage targets for projects that use the modules of this repository. A
// magefile imports the families it wants:
//
//	//go:build mage
//
//	package main
//
//	import (
//		//mage:import
//		_ "github.com/page-builder/persistence/pgmage" // migrate
//		//mage:import migrate
//		_ "github.com/page-builder/persistence/pgmage/migrate" // migrate:new, migrate:lint, …
//		//mage:import db
//		_ "github.com/page-builder/persistence/pgmage/db" // db:start, db:url, …
//	)
//
// A target runs a command by `go tool`. The command must have a tool line in the module's go.mod,
// or in tools/go.mod. A target whose command has neither says which `go get` to run.
//
// Commands that work on a database use DATABASE_URL, as package pgconfig reads it. If nothing names
// a database, and APP_ENV is unset, development or test, they use the development server that
// db:start started.
//
// A target's exit status is its command's.
package pgmage

import "github.com/page-builder/persistence/pgmage/internal/tool"

// Migrate applies all pending migrations.
func Migrate() error { return tool.Migrate.RunOnDatabase("up") }
