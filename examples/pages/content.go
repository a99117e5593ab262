package pages

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"

	"github.com/page-builder/persistence/examples/pages/fernhill"
)

// Content is a site in files, as an author writes it, before it is in a database.
type Content struct {
	Slug   string `json:"slug"`
	Name   string `json:"name"`
	Pages  []PageContent
	Assets []AssetContent
}

// PageContent is one page. A page comes after its parent.
type PageContent struct {
	Path   string          `json:"path"`
	Parent string          `json:"parent"` // "" for the home page
	Title  string          `json:"title"`
	Author string          `json:"author"`
	Blocks json.RawMessage `json:"blocks"`
}

// AssetContent is one file that blocks mention by name.
type AssetContent struct {
	Name      string `json:"name"`
	MediaType string `json:"media_type"`
	File      string `json:"file"` // below the site's folder
	Data      []byte `json:"-"`
}

// Fernhill returns the site that the example ships.
func Fernhill() (*Content, error) { return ReadContent(fernhill.Files()) }

// ReadContent reads a site from a folder with site.json, assets.json and pages/*.json.
func ReadContent(fsys fs.FS) (*Content, error) {
	var c Content
	if err := readJSON(fsys, "site.json", &c); err != nil {
		return nil, err
	}
	if err := readJSON(fsys, "assets.json", &c.Assets); err != nil {
		return nil, err
	}
	for i := range c.Assets {
		data, err := fs.ReadFile(fsys, c.Assets[i].File)
		if err != nil {
			return nil, err
		}
		c.Assets[i].Data = data
	}
	names, err := fs.Glob(fsys, path.Join("pages", "*.json"))
	if err != nil {
		return nil, err
	}
	c.Pages = make([]PageContent, len(names))
	for i, name := range names {
		if err := readJSON(fsys, name, &c.Pages[i]); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

func readJSON(fsys fs.FS, name string, into any) error {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
