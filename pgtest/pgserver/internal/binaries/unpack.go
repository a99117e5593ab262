package binaries

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// Limits bound what an archive may hold.
type Limits struct {
	Archive int64 // bytes to download
	Bytes   int64 // unpacked
	Entries int
}

// RealLimits are several times what a release needs: 15 to 40 MB, 60 to 150 MB unpacked, 1,500
// files.
func RealLimits() Limits { return Limits{Archive: 256 << 20, Bytes: 1 << 30, Entries: 20_000} }

// Unpack writes a tar archive's files into dir, which must exist. Nothing is written outside of it,
// whatever the names and links say: [os.Root] refuses that. An archive that tries is an error, and
// so is one with a link that leaves dir, with anything but files, directories and links, or beyond
// the limits. Set-user-id bits and others' right to write are not kept.
func Unpack(r io.Reader, dir string, limits Limits) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var (
		u  = unpacker{root: root, left: limits.Bytes}
		in = tar.NewReader(r)
	)
	for n := 1; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return u.checkLinks()
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if n > limits.Entries {
			return fmt.Errorf("the archive has more than %d entries", limits.Entries)
		}
		if err := u.entry(h, in); err != nil {
			return fmt.Errorf("unpack %q: %w", h.Name, err)
		}
	}
}

type unpacker struct {
	root  *os.Root
	left  int64
	links []string
}

var errLeaves = errors.New("it leaves the archive's directory")

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name := path.Clean(h.Name)
	if !filepath.IsLocal(name) {
		return errLeaves
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.root.MkdirAll(name, 0o755)
	case tar.TypeReg:
		return u.file(name, h, content)
	case tar.TypeSymlink:
		if path.IsAbs(h.Linkname) || !filepath.IsLocal(path.Join(path.Dir(name), h.Linkname)) {
			return fmt.Errorf("it is a link to %q: %w", h.Linkname, errLeaves)
		}
		u.links = append(u.links, name)
		return u.root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		if !filepath.IsLocal(h.Linkname) {
			return fmt.Errorf("it is a link to %q: %w", h.Linkname, errLeaves)
		}
		return u.root.Link(path.Clean(h.Linkname), name)
	case tar.TypeXGlobalHeader:
		return nil
	default:
		return fmt.Errorf("it is neither a file, a directory nor a link (type %q)", h.Typeflag)
	}
}

func (u *unpacker) file(name string, h *tar.Header, content io.Reader) error {
	if u.left -= h.Size; u.left < 0 {
		return errors.New("the archive holds more than is allowed")
	}
	mode := fs.FileMode(h.Mode)&0o755 | 0o600
	f, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	// Past the umask: as root the server runs as another user, who must be able to read.
	return errors.Join(err, f.Chmod(mode), f.Close())
}

// checkLinks resolves the links when all are there: through a link to a directory, ".." leads
// elsewhere than its text says.
func (u *unpacker) checkLinks() error {
	for _, name := range u.links {
		if _, err := u.root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("unpack %q: it is a link: %w (%w)", name, errLeaves, err)
		}
	}
	return nil
}
