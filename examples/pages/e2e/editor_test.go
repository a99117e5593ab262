package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/pgtest"
)

// An author in a real browser goes from the sites to a page, changes a block, publishes, and sees
// it in the preview. PAGES_SCREENSHOTS=DIR keeps a screenshot of each step.
func TestEditorInABrowser(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	url := pgtest.URL(t)
	b := serve(t, url)
	page := b.pages[1]
	run := func(actions ...chromedp.Action) {
		t.Helper()
		if err := chromedp.Run(ctx, actions...); err != nil {
			t.Fatal(err)
		}
	}
	// js waits until an expression is true in the page.
	js := func(expression string) chromedp.Action {
		return chromedp.Poll(expression, nil, chromedp.WithPollingTimeout(patience))
	}
	look := func(name string) {
		t.Helper()
		dir := os.Getenv("PAGES_SCREENSHOTS")
		if dir == "" {
			return
		}
		for _, width := range []int64{360, 1280} {
			var picture []byte
			run(chromedp.EmulateViewport(width, 800), chromedp.CaptureScreenshot(&picture))
			file := filepath.Join(dir, fmt.Sprintf("%s-%d.png", name, width))
			if err := os.WriteFile(file, picture, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	// fits says whether the page is no wider than a phone.
	fits := func(name string) {
		t.Helper()
		var fits bool
		run(chromedp.EmulateViewport(360, 800),
			chromedp.Evaluate(`document.documentElement.scrollWidth <= 360`, &fits))
		if !fits {
			t.Errorf("%s is wider than 360 pixels", name)
		}
		run(chromedp.EmulateViewport(1280, 800))
	}

	run(chromedp.EmulateViewport(1280, 800), chromedp.Navigate(b.host+"/"),
		chromedp.Click(`a[href="/sites/fernhill/table"]`), chromedp.WaitReady(`#rows tr`))
	fits("the list")
	look("list")
	run(chromedp.SendKeys(`input[name=text]`, page.Path+"\r"))
	link := fmt.Sprintf(`//tbody//a[text()=%q]`, page.Path)
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(link)); err != nil {
		t.Fatal(err)
	}
	run(js(`document.querySelector('#state')?.textContent === 'revision 1, published'`))
	var title string
	run(chromedp.Value(`input[name=title]`, &title))
	if title != page.Title {
		t.Errorf("the editor has the title %q, want %q", title, page.Title)
	}
	fits("the editor")
	look("editor")

	// A name outside of ASCII, a new paragraph at the top, and publish.
	run(chromedp.SetValue(`input[name=actor]`, "Jörg 猫"),
		chromedp.Evaluate(`form.actor.onchange()`, nil),
		chromedp.Click(`#add`),
		chromedp.SendKeys(`#blocks fieldset:last-child textarea`, "Written in the editor."),
		chromedp.Click(`#publish`),
		js(`document.querySelector('#state').textContent === 'revision 2, published'`))
	b.await(t, page.Path, 2)
	look("published")
	status, body, _, err := send(t.Context(), http.MethodGet, b.render+page.Path, "")
	if err != nil || status != http.StatusOK || !strings.Contains(string(body), "Written in the editor.") {
		t.Errorf("%d, %v: the page has no new paragraph", status, err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	revision, err := db.New(conn).PageRevision(t.Context(), db.PageRevisionParams{PageID: page.ID, Revision: 2})
	if err != nil || revision.CreatedBy != "Jörg 猫" {
		t.Errorf("saved by %q, %v", revision.CreatedBy, err)
	}

	// Another author saved first: nothing is overwritten.
	b.edit(t, page, "By another author.")
	run(chromedp.SetValue(`input[name=title]`, "Too late"), chromedp.Click(`#save`),
		js(`document.querySelector('#problem').textContent.startsWith('Somebody else')`))
	look("conflict")
	// A block that is not JSON stays in the form.
	run(chromedp.Evaluate(`at('blocks').append(block({type: 'list', items: ['a']})),
			at('blocks').lastChild.querySelector('textarea').value = '{'`, nil),
		chromedp.Click(`#save`),
		js(`document.querySelector('#problem').textContent.startsWith('A block is not JSON')`))
}
