package prisma

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/page-builder/persistence/lab/bench/harness"
)

// Embed the files by name, so that a local node_modules is not compiled in.
//
//go:embed package.json package-lock.json schema.prisma prisma.config.ts driver.mjs
var files embed.FS

// noPrismaError says why Prisma cannot run here.
type noPrismaError struct{ reason string }

func (e *noPrismaError) Error() string { return e.reason }

// cacheFolder returns the folder for the packages of the lock file and the generated client.
func cacheFolder() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", &noPrismaError{err.Error()}
	}
	entries, err := files.ReadDir(".")
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, e := range entries {
		text, err := files.ReadFile(e.Name())
		if err != nil {
			return "", err
		}
		sum.Write(text)
	}
	return filepath.Join(cache, "persistence-bench", fmt.Sprintf("prisma-%x", sum.Sum(nil)[:8])), nil
}

// install returns node and the folder with Prisma. The first call on a machine fills the folder
// from the npm registry (300 MB).
func install(ctx context.Context) (node, folder string, err error) {
	node, err = exec.LookPath("node")
	if err != nil {
		return "", "", &noPrismaError{"node is not in PATH"}
	}
	if folder, err = cacheFolder(); err != nil {
		return "", "", err
	}
	if _, err := os.Stat(folder); err == nil {
		return node, folder, nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", "", &noPrismaError{"npm is not in PATH"}
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return "", "", err
	}
	// Other processes may install at the same time, and this one may be killed. So rename the
	// folder when it is complete.
	temp, err := os.MkdirTemp(filepath.Dir(folder), "installing-")
	if err != nil {
		return "", "", err
	}
	defer os.RemoveAll(temp)
	if err := os.CopyFS(temp, files); err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // the registry may be far away
	defer cancel()
	fmt.Fprintln(os.Stderr, "bench: installing Prisma from the npm registry into", folder)
	for _, command := range [][]string{
		{npm, "view", "pg", "version", "--fetch-retries=0"}, // without a network npm ci fails only after minutes
		{
			npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retry-mintimeout=500",
			"--fetch-retry-maxtimeout=2000",
		},
		{filepath.Join(temp, "node_modules", ".bin", "prisma"), "generate"},
	} {
		if err := runIn(ctx, temp, command); err != nil {
			return "", "", err
		}
	}
	if err := os.Rename(temp, folder); err != nil {
		if _, missing := os.Stat(folder); missing != nil {
			return "", "", err
		}
	}
	return node, folder, nil
}

// runIn runs a command in a folder. The client needs no engine, but Prisma's command downloads one
// for migrations unless a variable names one. Another variable keeps it from calling home.
func runIn(ctx context.Context, folder string, command []string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.WaitDelay = folder, 5*time.Second
	cmd.Env = append(os.Environ(), "PRISMA_SCHEMA_ENGINE_BINARY=package.json", "CHECKPOINT_DISABLE=1",
		"PRISMA_HIDE_UPDATE_MESSAGE=1")
	said, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); errors.Is(ended, context.Canceled) {
		return ended
	}
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	return &noPrismaError{
		fmt.Sprintf("%s %s: %v: %s", filepath.Base(command[0]), command[1], err,
			strings.Join(lines[max(0, len(lines)-5):], "; ")),
	}
}

// reportVersions reports the versions that package.json names.
func reportVersions(r *harness.Report) error {
	text, err := files.ReadFile("package.json")
	if err != nil {
		return err
	}
	var named struct{ Dependencies map[string]string }
	if err := json.Unmarshal(text, &named); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(named.Dependencies)) {
		r.Version(name, named.Dependencies[name])
	}
	return nil
}

// nodeFolder is Node and the folder with Prisma.
type nodeFolder struct{ node, folder string }

// command is a line that the driver understands.
type command struct {
	Op      string `json:"op"`
	Callers int    `json:"callers"`
	Count   int    `json:"count"`
}

// answer is the driver's line for a command. Times are in milliseconds.
type answer struct {
	Error string  `json:"error"`
	MS    float64 `json:"ms"`
	CPU   float64 `json:"cpu"`
}

// open starts driver.mjs, which takes one command at a time. The URL goes where other users of the
// machine do not see it.
func (n nodeFolder) open(named bool) func(context.Context, string, int) (*client, error) {
	return func(ctx context.Context, url string, conns int) (*client, error) {
		cmd := exec.CommandContext(ctx, n.node, filepath.Join(n.folder, "driver.mjs"))
		cmd.Env = append(os.Environ(), "NODE_ENV=production", "DEBUG=", "DATABASE_URL="+url,
			"POOL="+strconv.Itoa(conns))
		if named {
			cmd.Env = append(cmd.Env, "NAMED=yes")
		}
		var said bytes.Buffer
		cmd.Stderr, cmd.WaitDelay = &said, 5*time.Second
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		return drive(in, json.NewDecoder(out), func() error {
			_ = in.Close()
			if err := cmd.Wait(); err != nil {
				return fmt.Errorf("the driver of Prisma ended: %w: %s", err, bytes.TrimSpace(said.Bytes()))
			}
			return nil
		}), nil
	}
}

func drive(in io.Writer, answers *json.Decoder, end func() error) *client {
	milliseconds := func(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
	return &client{
		batch: func(_ context.Context, operation string, callers, count int) (spent, error) {
			var a answer
			err := json.NewEncoder(in).Encode(command{operation, callers, count})
			if err == nil {
				err = answers.Decode(&a)
			}
			switch {
			case err != nil:
				err = errors.Join(err, end())
			case a.Error != "":
				err = errors.New(a.Error)
			}
			return spent{milliseconds(a.MS), milliseconds(a.CPU)}, err
		},
		close: func() {
			if err := end(); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
			}
		},
	}
}
