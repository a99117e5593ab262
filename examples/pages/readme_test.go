package pages_test

import (
	"os"
	"strings"
	"testing"
)

// The program in the repository's README is cmd/taste, which compiles.
func TestReadmeProgramCompiles(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile("cmd/taste/main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(program), "func main() {")
	if body == "" || !strings.Contains(string(readme), "func main() {"+body) {
		t.Error("README.md does not contain func main of cmd/taste/main.go as it is")
	}
}
