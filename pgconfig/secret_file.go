package pgconfig

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgconfig/internal/dsn"
)

// SecretFile is the file that a connection's password came from: DATABASE_PASSWORD_FILE,
// DATABASE_URL_FILE or the pass file. If a program reads it again for each connection, the password
// can be rotated without a restart.
type SecretFile struct {
	path string
	read func() (user, password string, err error)
}

// Path returns the path of the file.
func (f *SecretFile) Path() string { return f.path }

// Read reads the file again and returns the login, completed from the variables that the
// configuration was loaded from. White space at the ends of the file does not count.
//
// A URL that now leads to another host, port or database is an error: connections still go to the
// old one, which must not see the new password. The error names no path and holds no secret. Read
// blocks no longer than the file system takes; a pipe is an error. It is safe for concurrent use.
func (f *SecretFile) Read() (user string, password Secret, err error) {
	u, p, err := f.read()
	return u, NewSecret(p), err
}

// SecretFile returns the file that the password of DATABASE_URL came from, or nil if there is none.
func (c Config) SecretFile() *SecretFile {
	r := c.state()
	if r == nil {
		return nil
	}
	return r.main.secret
}

// DirectSecretFile returns the same for the connection of [Config.DirectConfig].
func (c Config) DirectSecretFile() *SecretFile {
	r := c.state()
	if r == nil {
		return nil
	}
	return r.direct.secret
}

// secretFile returns where the password of a connection came from.
func (l *loader) secretFile(c *connection, e Environment) *SecretFile {
	path := c.passFile
	if path == "" && c.key == "DATABASE_URL_FILE" {
		path = l.vars[c.key].text
	}
	if path == "" {
		return nil
	}
	vars, system, libpq, prefix, key, text := l.vars, l.system, l.libpq, l.prefix, c.key, c.text
	hosts, database := slices.Clone(c.Hosts), c.Database
	return &SecretFile{path: path, read: func() (user, password string, err error) {
		text := text // each call has its own
		again := &loader{
			problems: problems{prefix: prefix}, vars: vars, system: system, libpq: libpq,
			notes: map[string][]string{},
		}
		again.readPassword()
		if key == "DATABASE_URL_FILE" {
			file, _ := again.readSecret(key)
			text = file.text
		}
		if len(again.list) > 0 {
			return "", "", errors.New(again.list[0].String())
		}
		c := again.parseOne(key, text)
		again.fill(c)
		again.complete(c, e)
		switch {
		case len(again.list) > 0:
			return "", "", errors.New(again.list[0].String())
		case !slices.Equal(c.Hosts, hosts) || c.Database != database:
			return "", "", errors.New("it leads to another host, port or database than before: restart the program")
		case c.Password == "":
			return "", "", errors.New("it holds no password for this connection")
		}
		return c.User, c.Password, nil
	}}
}

// readPassword reads DATABASE_PASSWORD_FILE.
func (l *loader) readPassword() {
	const key = "DATABASE_PASSWORD_FILE"
	l.password, _ = l.readSecret(key)
	_, found := dsn.Parse(dsn.Join(map[string]string{"password": l.password.text}))
	for _, p := range found {
		l.add(key, p.Detail, p.Hint)
	}
}

// maxSecretFile is far longer than any URL or password. It keeps a wrong path (a device, a log)
// from filling the memory.
const maxSecretFile = 64 << 10 // bytes

// readSecret reads the file that a variable names, without the white space at its ends. Problems do
// not show the path, because people put the secret itself there.
func (l *loader) readSecret(key string) (entry, bool) {
	path := l.vars[key].text
	if path == "" {
		return entry{}, false
	}
	if strings.Contains(path, "://") {
		l.add(key, "holds a URL, not the path of a file", "put the URL into "+strings.TrimSuffix(key, "_FILE"))
		return entry{}, false
	}
	content, err := readLimited(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.add(key, "names a file that does not exist", "check the path and that the secret is mounted")
	case errors.Is(err, fs.ErrPermission):
		l.add(key, "names a file that this user may not read", "make it readable for the user that the program runs as")
	case err != nil:
		l.add(key, "names a file that cannot be read", "name a file of text that holds nothing else, not a pipe")
	case content == "":
		l.add(key, "names a file that is empty", "write the secret into it")
	case strings.ContainsAny(content, "\n\r"):
		l.add(key, "names a file with more than one line", "write the secret into it, and nothing else")
	default:
		return entry{text: content, source: "file " + path}, true
	}
	return entry{}, false
}

func readLimited(path string) (string, error) {
	// Opening a pipe would block until somebody writes into it.
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		return "", errors.New("a pipe")
	}
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
	// Editors on Windows write a byte order mark at the beginning.
	return strings.TrimSpace(strings.TrimPrefix(string(data), "\ufeff")), nil
}
