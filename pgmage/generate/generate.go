// Package generate holds the Mage targets for typed queries. Import it as `//mage:import`.
package generate

import "github.com/page-builder/persistence/pgmage/internal/tool"

// Generate generates typed queries with sqlc, and vets them on the migrated schema.
func Generate() error { return tool.Develop.Run("generate") }

// GenerateCheck fails if Generate would write other code, or if a query is wrong.
func GenerateCheck() error { //nolint:revive // the target is generateCheck
	return tool.Develop.Run("generate", "--check")
}
