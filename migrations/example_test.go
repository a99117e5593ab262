package migrations_test

import (
	"fmt"
	"io/fs"

	"github.com/page-builder/persistence/migrations"
)

// The files lie at the root of FS, where tern and pgmigrate look for them.
func ExampleFS() {
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range names {
		fmt.Println(name)
	}
	// Output:
	// 001_trigger_functions.sql
	// 002_sites.sql
	// 003_pages.sql
	// 004_page_revisions.sql
	// 005_assets.sql
	// 006_publications.sql
	// 007_audit_trail.sql
	// 008_health_checks.sql
}
