package binaries

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// unpackPackage unpacks an npm package whose SHA-512 is sum into dir/package.
func unpackPackage(archive, sum, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha512.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(h.Sum(nil)); got != sum {
		return fmt.Errorf("its SHA-512 is %s, want %s: it was damaged or changed; nothing of it was kept", got, sum)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return finishPackage(root)
		}
		if err == nil && h.Typeflag == tar.TypeReg { // an npm package holds nothing else
			err = writeFile(root, path.Clean(h.Name), fs.FileMode(h.Mode)&0o755|0o600, files)
		}
		if err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
	}
}

func writeFile(root *os.Root, name string, mode fs.FileMode, content io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	// Past the umask: as root the server runs as another user, who must be able to read.
	return errors.Join(err, f.Chmod(mode), f.Close())
}

// finishPackage makes the links that pg-symlinks.json lists, since a package cannot hold links, and
// makes the programs executable.
func finishPackage(root *os.Root) error {
	b, err := root.ReadFile("package/native/pg-symlinks.json")
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(b, &links); err != nil {
		return fmt.Errorf("pg-symlinks.json: %w", err)
	}
	for _, l := range links {
		to, err := filepath.Rel(path.Dir(l.Target), l.Source)
		if err == nil {
			err = root.Symlink(to, "package/"+l.Target)
		}
		if err == nil || errors.Is(err, fs.ErrExist) {
			_, err = root.Stat("package/" + l.Target) // which follows it
		}
		if err != nil {
			return fmt.Errorf("pg-symlinks.json: the link from %q to %q: %w", l.Target, l.Source, err)
		}
	}
	for _, program := range programs {
		if err := root.Chmod("package/native/bin/"+program, 0o755); err != nil {
			return err
		}
	}
	return root.Chmod("package", 0o755) // past the umask
}
