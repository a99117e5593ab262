package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// A person opens the page, sees a table's rows, and tries to change one.
func TestInABrowser(t *testing.T) {
	t.Parallel()
	var browser string
	for _, name := range []string{
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless-shell",
	} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("there is no Chromium or Chrome in PATH")
	}
	database, conn := pages(t)
	s := start(t, database)
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(browser), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(profile(t)),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(patience))
	ctx, end := chromedp.NewExecAllocator(t.Context(), options...)
	defer end()
	ctx, end = chromedp.NewContext(ctx)
	defer end()
	ctx, end = context.WithTimeout(ctx, 2*time.Minute)
	defer end()

	var rows, refused string
	err := chromedp.Run(ctx,
		chromedp.Navigate(s.page),
		chromedp.WaitVisible(`//td[contains(., "Fern Hill")]`, chromedp.BySearch),
		chromedp.Text("#results_body", &rows),
		chromedp.Click("#table_query"),
		chromedp.Evaluate(`editor.setValue("update pages set title = 'x'")`, nil),
		chromedp.Click("#run"),
		chromedp.WaitVisible(`//td[contains(., "ERROR")]`, chromedp.BySearch),
		chromedp.Text("#results_body", &refused),
	)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(rows, "Home") || !strings.Contains(refused,
		"cannot execute UPDATE in a read-only transaction") {
		t.Errorf("the rows: %q; the update: %q", rows, refused)
	}
	if n := value[int](t, conn, "select count(*) from pages where title = 'x'"); n != 0 {
		t.Error("the update was made")
	}
	s.stop(t)
}

// profile returns a directory for the browser. Its cleanup retries, because some of the browser's
// processes live for a few more milliseconds and write into it.
func profile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgstudio-browser-") // TempDir tries only once
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := os.RemoveAll(dir)
		for limit := time.Now().Add(patience); err != nil && time.Now().Before(limit); err = os.RemoveAll(dir) {
			time.Sleep(10 * time.Millisecond) // polls
		}
		if err != nil {
			t.Error(err)
		}
	})
	return dir
}
