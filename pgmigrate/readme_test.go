package pgmigrate_test

import (
	"os"
	"strings"
	"testing"
)

// The program in the README is the body of Example, which the compiler checks.
func TestReadmeIsCompiled(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(source), "migrate := func(ctx context.Context) error {\n")
	body, _, ok := strings.Cut(body, "\t\treturn nil\n\t}\n")
	if !ok {
		t.Fatal("Example has no function migrate")
	}
	body = strings.ReplaceAll("\n"+body, "\n\t\t", "\n")
	if !strings.Contains(string(readme), "```go"+body+"```") {
		t.Errorf("README.md does not hold this program:\n%s", body)
	}
}
