package pgserver

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// projectNames returns the names of the server and the database for the project around dir.
func projectNames(dir string) (server, database string) {
	module := projectPath(dir)
	if module == "" {
		return "default", "app"
	}
	last := module[strings.LastIndex(module, "/")+1:]
	if majorVersion.MatchString(last) {
		rest := strings.TrimSuffix(module, "/"+last)
		last = rest[strings.LastIndex(rest, "/")+1:]
	}
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(last))
	clean = clean[:min(len(clean), 24)] // a socket's path is short
	sum := sha256.Sum256([]byte(module))
	return clean + "-" + hex.EncodeToString(sum[:3]), clean
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// projectPath returns what names the project: the path of the module at the root of the workspace,
// or its folder if there is none, or the path of the nearest module; "" outside of both. GOWORK=off
// turns the workspace off, as for the go command.
func projectPath(dir string) string {
	if root := upwards(dir, "go.work"); root != "" && os.Getenv("GOWORK") != "off" {
		if path := modulePath(root); path != "" {
			return path
		}
		return root
	}
	return modulePath(upwards(dir, "go.mod"))
}

// upwards returns the nearest folder, from dir on, that has the file; "" if none has.
func upwards(dir, file string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if fi, err := os.Stat(filepath.Join(at, file)); err == nil && fi.Mode().IsRegular() {
			return at
		}
		if at == filepath.Dir(at) {
			return ""
		}
	}
}

func modulePath(dir string) string {
	if dir == "" {
		return ""
	}
	f, err := os.Open(filepath.Join(dir, "go.mod"))
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) >= 2 && fields[0] == "module" {
			return strings.Trim(fields[1], "\"`")
		}
	}
	return ""
}

// OlderServer returns the folder of the server that earlier versions started for every project, if
// it is there and is not d's.
func (d Dev) OlderServer() string {
	s, err := d.resolve()
	if err != nil || s.Name == "default" {
		return ""
	}
	older := filepath.Join(filepath.Dir(s.dir), "default")
	if _, err := os.Stat(filepath.Join(older, "data", "PG_VERSION")); err != nil {
		return ""
	}
	return older
}
