// Package fernhill is the content of the example: the site of the public library of a small town,
// as files.
package fernhill

import (
	"embed"
	"io/fs"
)

//go:embed site
var files embed.FS

// Files returns the site's folder: site.json, assets.json, pages and assets.
func Files() fs.FS {
	site, err := fs.Sub(files, "site")
	if err != nil {
		return files // not a valid path: it is one
	}
	return site
}
