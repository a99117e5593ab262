// Package seed holds the Mage target seed. Import it as `//mage:import`.
package seed

import "github.com/page-builder/persistence/pgmage/internal/tool"

// Seed runs the seed files of the environment: of APP_ENV, or of -env=NAME.
func Seed(env *string) error {
	if env == nil {
		return tool.Migrate.RunOnDatabase("seed")
	}
	return tool.Migrate.RunOnDatabase("seed", "--env", *env)
}
