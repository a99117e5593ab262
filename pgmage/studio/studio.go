// Package studio holds the Mage target studio. Import it as `//mage:import`.
package studio

import (
	"strconv"

	"github.com/page-builder/persistence/pgmage/internal/tool"
)

// Studio shows the database's tables in the browser, read-only, until Ctrl-C. -write permits to
// change a local database. -remote permits to read a remote one.
func Studio(port *int, write, remote *bool) error {
	var args []string
	if port != nil {
		args = append(args, "--port="+strconv.Itoa(*port))
	}
	if write != nil && *write {
		args = append(args, "--write")
	}
	if remote != nil && *remote {
		args = append(args, "--remote")
	}
	return tool.Studio.ServeOnDatabase(args...)
}
