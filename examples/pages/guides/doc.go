// Package guides tests what docs/*.md says: Go is compiled and its tests are run, SQL and commands
// are run, manifests and variables are read as what they are for reads them, messages and links are
// looked up. There is nothing to import.
package guides
