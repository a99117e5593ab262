package guides_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	driver = "github.com/jackc/pgx/v5"
	ours   = "github.com/page-builder/persistence/"
)

// packages are the packages that guides use without importing them.
var packages = map[string]string{
	"context": "context", "errors": "errors", "fmt": "fmt", "slog": "log/slog", "http": "net/http", "os": "os",
	"json": "encoding/json", "sync": "sync", "log": "log", "fs": "io/fs", "testing": "testing", "time": "time",
	"pgx": driver, "pgxpool": driver + "/pgxpool", "pgconn": driver + "/pgconn",
	"pgconfig": ours + "pgconfig", "pgerr": ours + "pgerr", "pghealth": ours + "pghealth",
	"pgmigrate": ours + "pgmigrate", "backfill": ours + "pgmigrate/backfill", "migrations": ours + "migrations",
	"pgotel": ours + "pgotel",
	"pgpool": ours + "pgpool", "pgquery": ours + "pgquery", "pgquerytest": ours + "pgquery/pgquerytest",
	"listen": ours + "pgpool/listen", "replica": ours + "pgpool/replica",
	"pgtest": ours + "pgtest", "pgserver": ours + "pgtest/pgserver", "fault": ours + "pgtest/pgserver/fault",
	"pgtx": ours + "pgtx",
	"db":   ours + "examples/pages/db", "pages": ours + "examples/pages", "uuid": "github.com/google/uuid",
}

// given declares the names that a block of statements uses.
const given = `func _(ctx context.Context, pool, analytics *pgxpool.Pool, cfg pgconfig.Config,
	mux *http.ServeMux, server *http.Server, w http.ResponseWriter, id uuid.UUID) error {
{
`

// The Go code of the guides and READMEs compiles in one package, and its tests run. The compiler's
// messages show the lines of the guides.
func TestGo(t *testing.T) {
	t.Parallel()
	folder, err := filepath.Abs("snippets")
	if err != nil {
		t.Fatal(err)
	}
	written, replace, tests := t.TempDir(), map[string]string{}, 0
	for _, g := range append(guides(t), readmes(t)...) {
		for i, b := range g.of("go") {
			if strings.HasPrefix(b.text, "func main()") {
				continue // cmd/taste, says TestReadmeProgramCompiles
			}
			if strings.HasPrefix(b.text, "//go:build mage") || inTests(t, b) {
				continue // pgmigrate's TestOutside compiles the magefile
			}
			source, err := file(b)
			if err != nil {
				t.Errorf("%s: %v", b, err)
				continue
			}
			name := fmt.Sprintf("%s_%d_test.go", strings.ReplaceAll(strings.TrimSuffix(b.guide, ".md"), "/", "_"), i)
			if err := os.WriteFile(filepath.Join(written, name), source, 0o644); err != nil {
				t.Fatal(err)
			}
			replace[filepath.Join(folder, name)] = filepath.Join(written, name)
			tests += strings.Count(b.text, "\nfunc Test") + strings.Count(b.text[:9], "func Test")
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(written, "overlay.json")
	if err := os.WriteFile(at, overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"answer_test.go", "outbox_test.go"} { // what the guides' functions do
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		tests += bytes.Count(text, []byte("\nfunc Test"))
	}
	out, err := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-tags=guides", "-overlay", at,
		"./snippets").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if passed := bytes.Count(out, []byte("\n--- PASS")); passed != tests || tests < 3 {
		t.Errorf("%d of %d tests passed:\n%s", passed, tests, out)
	}
}

// readmes returns the modules' READMEs. Each module tests its own tables, links and other blocks.
func readmes(t *testing.T) (all []guide) {
	t.Helper()
	for _, pattern := range []string{"/*/README.md", "/pg*/*/README.md", "/lab/*/README.md"} {
		files, err := filepath.Glob(root + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			all = append(all, read(t, file))
		}
	}
	if len(all) < 10 {
		t.Fatalf("%d READMEs", len(all))
	}
	return all
}

// inTests reports whether each line of a block is also a line of the tests in the same folder.
func inTests(t *testing.T, b block) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.Dir(b.guide), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{"": true}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			lines[bare(line)] = true
		}
	}
	for line := range strings.Lines(b.text) {
		if !lines[bare(line)] {
			return false
		}
	}
	return true
}

// bare returns a line without its indentation and comment.
func bare(line string) string {
	line, _, _ = strings.Cut(line, " // ")
	return strings.TrimSpace(line)
}

// file turns a block into a source file with imports. It puts statements into a function.
func file(b block) ([]byte, error) {
	body := fmt.Sprintf("//line %s/%s:%d\n%s", filepath.ToSlash(absolute()), b.guide, b.line, b.text)
	if _, err := parsed(body); err != nil {
		whole := given + body + "}\nreturn nil\n}\n"
		if _, err := parsed(whole); err != nil {
			return nil, err
		}
		body = whole
	}
	tree, err := parsed(body)
	if err != nil {
		return nil, err
	}
	imports, seen := "", map[string]bool{}
	for _, name := range tree.Unresolved {
		if path := packages[name.Name]; path != "" && !seen[path] {
			seen[path] = true
			imports += fmt.Sprintf("import %q\n", path)
		}
	}
	return []byte("package snippets_test\n" + imports + body), nil
}

func parsed(body string) (*ast.File, error) {
	return parser.ParseFile(token.NewFileSet(), "", "package snippets_test\n"+body, 0)
}

func absolute() string {
	path, err := filepath.Abs(root)
	if err != nil {
		return root
	}
	return path
}
