// Command host serves the authors' API: pages are created, edited, published and rolled back here.
//
//	DATABASE_URL=… host -address 127.0.0.1:8081
//
// PAGES_PREVIEW is the URL of render, for the preview next to the editor.
package main

import (
	"os"

	"github.com/page-builder/persistence/examples/pages/host"
	"github.com/page-builder/persistence/examples/pages/service"
)

func main() { os.Exit(service.Main("host", "127.0.0.1:8081", host.Run(os.Getenv("PAGES_PREVIEW")))) }
