// Package tree works on directories that belong to a user whom the caller does not trust. Root
// starts servers as such a user, who may replace any file there by a link at any moment: nothing
// here follows a link that leads out of its directory.
package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Open opens dir, which must not be a link out of its parent directory.
func Open(dir string) (*os.Root, error) {
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	return parent.OpenRoot(filepath.Base(dir))
}

// ReadFile reads a file below dir.
func ReadFile(dir, name string) ([]byte, error) {
	root, err := Open(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := openFile(root, name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// openFile opens a plain file, and nothing in its place that would block, such as a FIFO.
func openFile(root *os.Root, name string, flag int) (*os.File, error) {
	f, err := root.OpenFile(name, flag|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s is not a plain file", f.Name()))
	}
	return f, nil
}

// WriteFile makes or replaces a file below dir, which only uid can read.
func WriteFile(dir, name, text string, uid, gid int) error {
	root, err := Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := openFile(root, name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil && uid != os.Geteuid() {
		err = f.Chown(uid, gid)
	}
	return errors.Join(err, f.Close())
}

// Append adds text to a file below dir.
func Append(dir, name, text string) error {
	root, err := Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := openFile(root, name, os.O_APPEND|os.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Copy copies a directory of plain files to a new one, which uid owns. Two files at a time: they
// are small, and the kernel's work on one overlaps with ours on the next.
func Copy(from, to string, uid, gid int) error {
	src, err := Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	parent, err := Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := parent.Mkdir(filepath.Base(to), 0o700); err != nil {
		return err
	}
	dst, err := parent.OpenRoot(filepath.Base(to))
	if err != nil {
		return err
	}
	defer dst.Close()
	c := copying{src: src, dst: dst, uid: uid, gid: gid}
	if err := c.giveAway("."); err != nil {
		return err
	}
	return c.run()
}

type copying struct {
	src, dst *os.Root
	uid, gid int
}

// giveAway gives a directory to its owner at once, who removes it if the caller is killed.
func (c *copying) giveAway(dir string) error {
	if c.uid == os.Geteuid() {
		return nil
	}
	return c.dst.Lchown(dir, c.uid, c.gid)
}

func (c *copying) run() error {
	files, errs := make(chan string), make(chan error, 2)
	for range cap(errs) {
		go func() {
			var first error
			for name := range files { // to the end even after an error: the walk below waits for a reader
				if first == nil {
					first = c.file(name)
				}
			}
			errs <- first
		}()
	}
	walked := fs.WalkDir(c.src.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || name == ".":
			return err
		case d.IsDir():
			if err := c.dst.Mkdir(name, 0o700); err != nil {
				return err
			}
			return c.giveAway(name)
		default:
			files <- name
			return nil
		}
	})
	close(files)
	return errors.Join(walked, <-errs, <-errs)
}

func (c *copying) file(name string) error {
	src, err := openFile(c.src, name, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := c.dst.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(dst, src); err == nil && c.uid != os.Geteuid() {
		err = dst.Chown(c.uid, c.gid)
	}
	return errors.Join(err, dst.Close())
}

// MkdirAll makes dir and its missing parents with the mode, whatever the umask is.
func MkdirAll(dir string, mode fs.FileMode) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := MkdirAll(filepath.Dir(dir), mode); err != nil {
		return err
	}
	if err := os.Mkdir(dir, mode); err != nil {
		if errors.Is(err, fs.ErrExist) { // another process was faster
			return nil
		}
		return err
	}
	return os.Chmod(dir, mode)
}

// Private reports an error unless dir is a directory that belongs to uid and that nobody else can
// enter.
func Private(dir string, uid int) error {
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !fi.IsDir() || !OwnedBy(fi, uid) || fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s must be a directory of user %d with mode 0700", dir, uid)
	}
	return nil
}

// OwnedBy reports whether a file belongs to uid.
func OwnedBy(fi fs.FileInfo, uid int) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == uid
}
