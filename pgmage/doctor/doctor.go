// Package doctor holds the Mage target doctor. Import it as `//mage:import`.
package doctor

import (
	"strconv"

	"github.com/page-builder/persistence/pgmage/internal/tool"
)

// Doctor checks the configuration, connects, and reports what will not work. -explain prints the
// table of variables. -instances=N checks whether N instances have enough connections.
func Doctor(explain *bool, instances *int) error {
	if explain != nil && *explain {
		return tool.Doctor.Run("-explain")
	}
	if instances != nil {
		return tool.Doctor.RunOnDatabase("-instances=" + strconv.Itoa(*instances))
	}
	return tool.Doctor.RunOnDatabase()
}
