package pgconfig

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
)

// maxSecretFile is far more than a URL or password has, and keeps a wrong path (a device, a log)
// from filling the memory.
const maxSecretFile = 64 << 10

// readSecretFile reads the file that a variable names, without the white space at its ends. The
// path is not shown in problems: people put the secret itself there.
func (l *loader) readSecretFile(key string) (string, bool) {
	path := l.vars[key].text
	if strings.Contains(path, "://") {
		l.add(key, "holds a URL, not the path of a file", "put the URL into "+prefixed(l.prefix, strings.TrimSuffix(key, "_FILE")))
		return "", false
	}
	text, err := readLimited(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.add(key, "names a file that does not exist", "check the path and that the secret is mounted")
	case errors.Is(err, fs.ErrPermission):
		l.add(key, "names a file that this user may not read", "make it readable for the user that the program runs as")
	case err != nil:
		l.add(key, "names a file that cannot be read", "name a file of text that holds nothing else")
	case text == "":
		l.add(key, "names a file that is empty", "write the secret into it")
	default:
		return text, true
	}
	return "", false
}

func readLimited(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxSecretFile {
		return "", errors.New("too long")
	}
	return strings.TrimSpace(string(data)), nil
}

// passwordFile reads DATABASE_PASSWORD_FILE.
func (l *loader) passwordFile(r *resolved) entry {
	const key = "DATABASE_PASSWORD_FILE"
	if _, ok := l.vars[key]; !ok {
		return entry{}
	}
	text, ok := l.readSecretFile(key)
	if !ok {
		return entry{}
	}
	r.passwordFile = l.vars[key].text
	return entry{text: text, source: "file " + r.passwordFile}
}
