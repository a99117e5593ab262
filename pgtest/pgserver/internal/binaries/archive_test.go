package binaries_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// file is an entry of a tar archive to be made: a regular file unless kind says otherwise.
type file struct {
	name, content, link string
	kind                byte
	mode                int64
	size                int64 // claimed; 0 is the content's
}

func tarball(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Linkname: f.link, Typeflag: f.kind, Mode: f.mode, Size: int64(len(f.content))}
		if f.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if f.mode == 0 {
			h.Mode = 0o755
		}
		if f.size != 0 {
			h.Size = f.size
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	w.Close() // fails where an entry is shorter than it claims
	return b.Bytes()
}

// xz wraps content in the format without compressing it, which would take long for a server; see
// https://tukaani.org/xz/xz-file-format.txt.
func xz(t testing.TB, content []byte) []byte {
	t.Helper()
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("no xz in PATH to unpack an archive with")
	}
	var b bytes.Buffer
	summed := func(part []byte) []byte { return binary.LittleEndian.AppendUint32(part, crc32.ChecksumIEEE(part)) }
	padded := func(part []byte) []byte { return append(part, make([]byte, (4-len(part)%4)%4)...) }
	flags := []byte{0, 0} // no check
	b.WriteString("\xfd7zXZ\x00")
	b.Write(binary.LittleEndian.AppendUint32(flags, crc32.ChecksumIEEE(flags)))
	begin := b.Len()
	b.Write(summed([]byte{2, 0, 0x21, 1, 8, 0, 0, 0})) // a block of LZMA2 with a dictionary of 64 kB
	control := byte(1)                                 // the first chunk resets the dictionary
	for chunk := range slices.Chunk(content, 1<<16) {
		b.WriteByte(control)
		b.Write(binary.BigEndian.AppendUint16(nil, uint16(len(chunk)-1)))
		b.Write(chunk)
		control = 2
	}
	b.WriteByte(0)
	size := b.Len() - begin
	b.Write(make([]byte, (4-size%4)%4))
	index := binary.AppendUvarint([]byte{0, 1}, uint64(size)) // of one block
	index = summed(padded(binary.AppendUvarint(index, uint64(len(content)))))
	b.Write(index)
	footer := append(binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1)), flags...)
	b.Write(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(footer)))
	b.Write(footer)
	b.WriteString("YZ")
	return b.Bytes()
}

func jar(t testing.TB, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, entry := range []struct {
		name    string
		content []byte
	}{{"META-INF/MANIFEST.MF", []byte("Manifest-Version: 1.0\n")}, {name, content}} {
		method := zip.Deflate
		if len(entry.content) > 1<<20 {
			method = zip.Store // quick
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: entry.name, Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(entry.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// programs is what every release holds, here as scripts that know their version.
func programs(version string) []file {
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
	return []file{
		{name: "./bin/postgres", content: script},
		{name: "./bin/initdb", content: script},
		{name: "./bin/pg_ctl", content: script},
	}
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// repository serves files by path, and counts how often each was asked for.
type repository struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	asked map[string]int
}

func newRepository(t testing.TB) *repository {
	r := &repository{files: map[string][]byte{}, asked: map[string]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.asked[q.URL.Path]++
		b, ok := r.files[q.URL.Path]
		switch {
		case !ok:
			http.NotFound(w, q)
		case bytes.HasPrefix(b, []byte("redirect ")):
			http.Redirect(w, q, string(b[len("redirect "):]), http.StatusFound)
		default:
			_, _ = w.Write(b) // the client may have had enough
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func artifactPath(platform, release string) string {
	name := "embedded-postgres-binaries-" + platform
	return "/m2/io/zonky/test/postgres/" + name + "/" + release + "/" + name + "-" + release + ".jar"
}

// add publishes an archive and its sum.
func (r *repository) add(platform, release string, archive []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[artifactPath(platform, release)] = archive
	r.files[artifactPath(platform, release)+".sha256"] = []byte(sum(archive))
}

func (r *repository) times(path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[path]
}

// tree lists what is under dir but lock files.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); rel != "." && !strings.HasSuffix(rel, ".lock") {
			found = append(found, rel)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return found
}
