package binaries

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// MavenCentral is the repository that PGTEST_REPOSITORY replaces.
const MavenCentral = "https://repo1.maven.org/maven2"

// releases are the downloads, newest first: those that fergusstrange/embedded-postgres v1.34.0
// names, so that they are known to exist for each platform.
var releases = []string{"18.3.0", "17.5.0", "16.9.0", "15.13.0", "14.18.0"}

// release returns the release of a major version, or the newest for 0.
func release(major int) (string, error) {
	if major == 0 {
		return releases[0], nil
	}
	i := slices.IndexFunc(releases, func(r string) bool { return strings.HasPrefix(r, fmt.Sprint(major)+".") })
	if i < 0 {
		return "", fmt.Errorf("version %d is not among the known releases %s", major, strings.Join(releases, ", "))
	}
	return releases[i], nil
}

// platform is the part of an artifact's name that says for which machine it is: linux-amd64,
// linux-arm64v8-alpine, darwin-arm64v8.
func (s System) platform() (string, error) {
	arch := map[string]string{"amd64": "amd64", "arm64": "arm64v8"}[s.GOARCH]
	if arch == "" || (s.GOOS != "linux" && s.GOOS != "darwin") {
		return "", fmt.Errorf("there are no binaries to download for %s/%s", s.GOOS, s.GOARCH)
	}
	if s.GOOS == "linux" && s.exists("/etc/alpine-release") { // musl instead of glibc
		arch += "-alpine"
	}
	return s.GOOS + "-" + arch, nil
}

// artifact returns the address of an archive in the layout of Maven repositories.
func artifact(repository *url.URL, platform, release string) *url.URL {
	name := "embedded-postgres-binaries-" + platform
	return repository.JoinPath("io/zonky/test/postgres", name, release, name+"-"+release+".jar")
}

// parseRepository accepts what cannot be changed on its way: the archive holds programs to run. No
// error quotes the value, which may hold a password.
func parseRepository(raw string) (*url.URL, error) {
	if raw == "" {
		raw = MavenCentral
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("PGTEST_REPOSITORY is not a URL such as %s", MavenCentral)
	}
	return u, secure(u)
}

func secure(u *url.URL) error {
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback())
	if u.Scheme == "https" || (u.Scheme == "http" && loopback) {
		return nil
	}
	return fmt.Errorf("%s://%s: want https, or http on this machine", u.Scheme, u.Host)
}
