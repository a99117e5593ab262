// Package db holds the Mage targets for the development server, a PostgreSQL on this machine that
// keeps its data. Import it as `//mage:import db`.
package db

import (
	"strconv"

	"github.com/page-builder/persistence/pgmage/internal/tool"
)

// Start starts the development server and prints its URL. -port=5432 also opens that port on
// loopback.
func Start(port *int) error {
	if port == nil {
		return tool.Server.Run("start")
	}
	return tool.Server.Run("start", "--port="+strconv.Itoa(*port))
}

// Stop stops the development server. Its data stays.
func Stop() error { return tool.Server.Run("stop") }

// Url prints the development server's URL.
func Url() error { return tool.Server.Run("url") } //nolint:revive // the target is db:url

// Remove stops the development server and deletes its data.
func Remove() error { return tool.Server.Run("remove") }

// Clean drops the databases that failed tests kept (PGTEST_KEEP=1).
func Clean() error { return tool.Test.Run("clean") }
