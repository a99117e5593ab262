// Package snippets is where the guides' and READMEs' Go code is compiled: the tests of package
// guides lay it over this folder.
package snippets
