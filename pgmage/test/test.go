// Package test holds the Mage target test. Import it as `//mage:import`.
package test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"

	"github.com/page-builder/persistence/pgmage/internal/tool"
)

// Test runs all tests, with the race detector if there is a C compiler.
func Test() error {
	args := []string{"test", "-race", "./..."}
	if !hasRaceDetector() {
		fmt.Println("no C compiler: testing without the race detector")
		args = []string{"test", "./..."}
	}
	return tool.Command("go", args...)
}

func hasRaceDetector() bool {
	if os.Getenv("CGO_ENABLED") == "0" {
		return false
	}
	return slices.ContainsFunc([]string{"gcc", "clang", "cc"}, func(compiler string) bool {
		_, err := exec.LookPath(compiler)
		return err == nil
	})
}
