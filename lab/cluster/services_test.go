package cluster_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/page-builder/persistence/lab/cluster"
)

// services runs the example's programs unchanged, with other variables: serve imports the site,
// then host and render run. The returned function edits and publishes a page in host and waits
// until render shows it.
func services(t *testing.T, c *cluster.Cluster) (work func()) {
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/serve", "./cmd/host", "./cmd/render")
	build.Dir = filepath.Join("..", "..", "examples", "pages")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ways := ways(c)
	serve := run(t, ways["several hosts"], filepath.Join(bin, "serve"), "-host", "127.0.0.1:0",
		"-render", "127.0.0.1:0")
	home := serve.await(t, regexp.MustCompile(`/pages/([0-9a-f-]+) -H`))
	serve.end(t)
	serving := regexp.MustCompile(`"msg":"serving".*"address":"([^"]+)"`)
	host := run(t, ways["PgBouncer"], filepath.Join(bin, "host"), "-address", "127.0.0.1:0")
	render := run(t, ways["HAProxy"], filepath.Join(bin, "render"), "-address", "127.0.0.1:0")
	page, shown := "http://"+host.await(t, serving)+"/pages/"+home, "http://"+render.await(t, serving)+"/"
	t.Cleanup(func() { host.end(t); render.end(t) }) // the processes that were started are those that end

	edition := 0
	return func() {
		t.Helper()
		edition++
		text := fmt.Sprintf("This is edition %d.", edition)
		eventually(t, func() error {
			_, etag, err := send(t.Context(), http.MethodGet, page, "")
			if err != nil {
				return err
			}
			edit := `{"title": "Home", "blocks": [{"type": "paragraph", "text": "` + text + `"}]}`
			if _, etag, err = send(t.Context(), http.MethodPut, page, edit, "If-Match", etag); err != nil {
				return err
			}
			_, _, err = send(t.Context(), http.MethodPost, page+"/publications", "", "Idempotency-Key", text+etag)
			return err
		})
		eventually(t, func() error { // by NOTIFY, or by reading again after the connection for LISTEN was lost
			html, _, err := send(t.Context(), http.MethodGet, shown, "")
			if err == nil && !strings.Contains(html, text) {
				err = fmt.Errorf("render does not show %q", text)
			}
			return err
		})
	}
}

// send sends a request. An answer other than 2xx is an error.
func send(ctx context.Context, method, url, body string, headers ...string) (answer, etag string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", "", err
	}
	req.Close = true
	req.Header.Set("X-Actor", "test")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	got, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", "", err
	}
	defer got.Body.Close()
	b, err := io.ReadAll(got.Body)
	if err == nil && got.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %d %s", method, url, got.StatusCode, b)
	}
	return string(b), got.Header.Get("ETag"), err
}

// program is a program that runs, with its output.
type program struct {
	cmd   *exec.Cmd
	lines chan string // the first ones; the rest is dropped
}

// run starts a program whose environment has no other database.
func run(t *testing.T, environ map[string]string, path string, args ...string) *program {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, args...)
	cmd.Dir = filepath.Dir(path) // without a .env
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PG") || strings.HasPrefix(v, "DATABASE_") || strings.HasPrefix(v, "APP_ENV") ||
			strings.HasPrefix(v, "DIRECT_")
	})
	for name, value := range environ {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{cmd, make(chan string, 1000)}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case p.lines <- s.Text():
			default:
			}
		}
	}()
	go func() { _ = cmd.Wait(); w.Close() }()
	return p
}

// await returns the first group of the first line that matches.
func (p *program) await(t *testing.T, want *regexp.Regexp) string {
	t.Helper()
	var all []string
	for line := range p.lines {
		if m := want.FindStringSubmatch(line); m != nil {
			return m[1]
		}
		all = append(all, line)
	}
	t.Fatalf("%s ended:\n%s", p.cmd.Path, strings.Join(all, "\n"))
	return ""
}

// end ends the program and waits. The program must still be running.
func (p *program) end(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("%s: %v", p.cmd.Path, err)
	}
	last := ""
	for line := range p.lines {
		last = line
	}
	if !p.cmd.ProcessState.Success() {
		t.Errorf("%s: %v: %s", p.cmd.Path, p.cmd.ProcessState, last)
	}
}
