// Package guides tests docs/*.md. It compiles Go and runs its tests, runs SQL and commands, parses
// manifests and variables, and looks up messages and links. There is nothing to import.
package guides
