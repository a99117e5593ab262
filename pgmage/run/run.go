// Package run holds the Mage target run. Import it as `//mage:import`.
package run

import "github.com/page-builder/persistence/pgmage/internal/tool"

// Run builds and runs the service in the current folder, or in -dir=./cmd/NAME, until Ctrl-C.
func Run(dir *string) error {
	if dir == nil {
		return tool.RunService(".")
	}
	return tool.RunService(*dir)
}
