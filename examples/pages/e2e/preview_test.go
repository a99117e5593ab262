package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/page-builder/persistence/pgtest"
)

// The preview in a real browser: the content changes, the document stays.
func TestPreviewFollowsWithoutAReload(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	b := serve(t, pgtest.URL(t))
	page := b.pages[1]
	run := func(actions ...chromedp.Action) {
		t.Helper()
		if err := chromedp.Run(ctx, actions...); err != nil {
			t.Fatal(err)
		}
	}
	run(chromedp.Navigate(b.render+"/preview"+page.Path),
		chromedp.WaitReady(`main[data-revision="1"]`),
		chromedp.Evaluate(`window.stays = 'since the beginning'`, nil))
	b.edit(t, page, "Seen in the preview.")
	var text, stays string
	run(chromedp.WaitReady(`main[data-revision="2"]`),
		chromedp.Text("main", &text),
		chromedp.Evaluate(`window.stays`, &stays))
	if text != "Edited\n\nSeen in the preview." || stays != "since the beginning" {
		t.Errorf("the preview shows %q; set before: %q", text, stays)
	}
}

// browser starts a headless Chromium that ends with the test. It skips the test if there is no
// Chromium.
func browser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless-shell",
	} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("there is no Chromium or Chrome in PATH")
	}
	dir := profile(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(dir),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(patience))
	ctx, end := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(end)
	ctx, end = chromedp.NewContext(ctx)
	t.Cleanup(end)
	ctx, end = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(end)
	return ctx
}

// profile makes a directory for the browser and retries its removal, because some processes of the
// browser outlive the main one by milliseconds and write into it.
func profile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pages-browser-") // TempDir tries only once
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
