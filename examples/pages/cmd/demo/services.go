package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/examples/pages/host"
	"github.com/page-builder/persistence/examples/pages/render"
	"github.com/page-builder/persistence/examples/pages/service"
)

// services runs host and render, edits a page through one and sees it through the other.
func (s *story) services(ctx context.Context) error {
	s.title("Two services: authors edit in host, readers see it in render")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	both, running := errgroup.WithContext(ctx)
	renderURL, err := s.serve(running, both, render.Run(s.site.Slug))
	if err != nil {
		return err
	}
	hostURL, err := s.serve(running, both, host.Run(renderURL))
	if err != nil {
		return err
	}
	s.say("host on %s, render on %s", hostURL, renderURL)
	if err := s.editThroughTheServices(running, hostURL, renderURL); err != nil {
		return err
	}
	began := time.Now()
	cancel()
	if err := both.Wait(); err != nil {
		return err
	}
	s.say("told to end, both finish what they are answering and close their pools, in %s", since(began))
	return nil
}

// serve starts a service on a free port.
func (s *story) serve(
	ctx context.Context, both *errgroup.Group, run func(context.Context, service.Options) error,
) (string, error) {
	started := make(chan string, 1)
	both.Go(func() error {
		return run(ctx, service.Options{
			Address: "127.0.0.1:0", Database: s.cfg, Logger: s.log, Drain: -1, // there is no load balancer
			Started: func(address string) { started <- "http://" + address },
		})
	})
	select {
	case url := <-started:
		return url, nil
	case <-ctx.Done():
		return "", both.Wait()
	}
}

func (s *story) editThroughTheServices(ctx context.Context, hostURL, renderURL string) error {
	about, err := db.New(s.pool).PageByPath(ctx, db.PageByPathParams{SiteID: s.site.ID, Path: "/about"})
	if err != nil {
		return err
	}
	page := hostURL + "/pages/" + about.ID.String()
	etag, _, err := call(ctx, http.StatusOK, http.MethodGet, page, "")
	if err != nil {
		return err
	}
	// Now it is in the cache.
	if _, _, err := call(ctx, http.StatusOK, http.MethodGet, renderURL+about.Path, ""); err != nil {
		return err
	}
	preview, err := follow(ctx, renderURL+"/events?path="+about.Path)
	if err != nil {
		return err
	}
	defer preview.Close()

	const text = "The roof is finished, and it does not leak."
	edit := `{"title": "About the library", "blocks": [{"type": "paragraph", "text": "` + text + `"}]}`
	if _, _, err := call(ctx, http.StatusOK, http.MethodPut, page, edit, "If-Match", etag); err != nil {
		return err
	}
	s.say("PUT %s with If-Match: %s → 200, a new revision", about.Path, etag)
	if _, _, err := call(ctx, http.StatusPreconditionFailed, http.MethodPut, page, edit, "If-Match", etag); err != nil {
		return err
	}
	s.say("the same from an author who read the old one → 412, nothing is overwritten")
	if _, _, err := call(ctx, http.StatusCreated, http.MethodPost, page+"/publications", "", "Idempotency-Key",
		"roof-"+etag+about.ID.String()); err != nil {
		return err
	}
	began := time.Now()
	if err := preview.await("event: changed"); err != nil {
		return err
	}
	_, html, err := call(ctx, http.StatusOK, http.MethodGet, renderURL+about.Path, "")
	if err != nil {
		return err
	}
	if !strings.Contains(html, text) {
		return errors.New("render shows the old page after it was told of the new one")
	}
	s.say("published → 201; NOTIFY empties render's cache, the open preview is told, and readers have it: %s later",
		since(began))
	return nil
}

// call makes a request with pairs of headers and expects a status. It returns the answer's ETag and
// body.
func call(ctx context.Context, want int, method, url, body string, headers ...string) (etag, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", "", err
	}
	req.Header.Set("X-Actor", "Maren Holloway")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	got, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", "", err
	}
	defer got.Body.Close()
	b, err := io.ReadAll(got.Body)
	if err == nil && got.StatusCode != want {
		err = fmt.Errorf("%s %s: %d %s, want %d", method, url, got.StatusCode, bytes.TrimSpace(b), want)
	}
	return got.Header.Get("ETag"), string(b), err
}

// stream is an open preview.
type stream struct {
	io.Closer
	lines *bufio.Scanner
}

// follow opens the stream and waits until the service has begun to watch.
func follow(ctx context.Context, url string) (*stream, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	got, err := http.DefaultClient.Do(req) //nolint:bodyclose // the stream is closed by its user
	if err != nil {
		return nil, err
	}
	s := &stream{got.Body, bufio.NewScanner(got.Body)}
	return s, s.await("retry: 500")
}

func (s *stream) await(line string) error {
	for s.lines.Scan() {
		if s.lines.Text() == line {
			return nil
		}
	}
	return fmt.Errorf("the stream ended before %q: %w", line, s.lines.Err())
}
