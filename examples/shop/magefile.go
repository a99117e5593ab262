//go:build mage

// The commands of shop: go tool mage -l lists them.
package main

import (
	//mage:import
	_ "github.com/page-builder/persistence/pgmage"
	//mage:import db
	_ "github.com/page-builder/persistence/pgmage/db"
	//mage:import
	_ "github.com/page-builder/persistence/pgmage/doctor"
	//mage:import
	_ "github.com/page-builder/persistence/pgmage/generate"
	//mage:import migrate
	_ "github.com/page-builder/persistence/pgmage/migrate"
	//mage:import
	_ "github.com/page-builder/persistence/pgmage/run"
	//mage:import
	_ "github.com/page-builder/persistence/pgmage/seed"
	//mage:import
	_ "github.com/page-builder/persistence/pgmage/studio"
	//mage:import
	_ "github.com/page-builder/persistence/pgmage/test"
)
