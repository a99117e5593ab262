// Package snippets is where the guides' Go code is compiled: the tests of package guides lay it over this folder.
package snippets
