package binaries

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

func (d Download) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			TLSHandshakeTimeout:   30 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 5 {
				return errors.New("redirected more than 5 times")
			}
			return secure(r.URL)
		},
	}
}

func get(ctx context.Context, client *http.Client, from *url.URL) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("download %s: not a usable address", from.Redacted())
	}
	response, err := client.Do(r)
	if err != nil {
		return nil, err // a *url.Error, which leaves the password out
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("download %s: %w %s", from.Redacted(), statusError(response.StatusCode),
			http.StatusText(response.StatusCode))
	}
	return response, nil
}

type statusError int

func (s statusError) Error() string { return fmt.Sprintf("HTTP status %d", int(s)) }

// published returns the sum that the repository has beside the archive.
func published(ctx context.Context, client *http.Client, from *url.URL) (string, error) {
	beside := *from
	beside.Path += ".sha256"
	response, err := get(ctx, client, &beside)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	if err != nil {
		return "", fmt.Errorf("download %s: %w", beside.Redacted(), err)
	}
	// The sum alone, or sha256sum's output.
	fields := strings.Fields(string(b))
	if len(fields) > 0 {
		if sum, err := hex.DecodeString(fields[0]); err == nil && len(sum) == sha256.Size {
			return strings.ToLower(fields[0]), nil
		}
	}
	return "", fmt.Errorf("%s is not a SHA-256 sum", beside.Redacted())
}

// save writes the archive to a file and returns its sum.
func (d Download) save(ctx context.Context, client *http.Client, from *url.URL, to string) (string, error) {
	response, err := get(ctx, client, from)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(response.Body, d.Limits.Archive+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("download %s: %w", from.Redacted(), err)
	}
	if n > d.Limits.Archive {
		return "", fmt.Errorf("download %s: it is larger than the %d bytes allowed", from.Redacted(), d.Limits.Archive)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// explain adds what to do.
func (d Download) explain(ctx context.Context, err error) error {
	var (
		status  statusError
		network *url.Error
	)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", err, context.Cause(ctx))
	case errors.As(err, &status) && status == http.StatusNotFound:
		return fmt.Errorf("%w: the repository does not have this release for this system; name another one with "+
			"PGTEST_REPOSITORY", err)
	case errors.As(err, &network):
		return fmt.Errorf("%w; without a network, name a mirror with PGTEST_REPOSITORY or install PostgreSQL", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EFBIG), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w\nthe file system of %s is full: free 300 MB, or set XDG_CACHE_HOME to another directory",
			err, d.Store)
	}
	return err
}
