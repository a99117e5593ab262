// Command render serves the published pages to their readers.
//
//	DATABASE_URL=… PAGES_SITE=fernhill render -address 127.0.0.1:8082
package main

import (
	"os"

	"github.com/page-builder/persistence/examples/pages/render"
	"github.com/page-builder/persistence/examples/pages/service"
)

func main() { os.Exit(service.Main("render", "127.0.0.1:8082", render.Run(os.Getenv("PAGES_SITE")))) }
