package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/migrations"
	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

const (
	editors, readers = 10, 40
	// fresh is the time until a reader must see a publication, while the listener is connected.
	fresh = time.Second
)

// TestLoad edits and reads with 50 clients and restarts the server once. Every acknowledged edit
// must be stored. From one second after the listener has reconnected, no reader may see an old
// page. PAGES_LOAD sets the duration, such as 1m.
func TestLoad(t *testing.T) {
	lasts := 2 * time.Second
	if long, err := time.ParseDuration(os.Getenv("PAGES_LOAD")); err == nil {
		lasts = long
	}
	server := fault.NewServer(t, fault.ServerOptions{})
	url := server.URL()
	migrate(t, url)
	l := &load{both: serve(t, url)}
	l.pages = l.pages[:20]
	l.acknowledged = make([]publications, len(l.pages))

	ctx, end := context.WithCancel(t.Context())
	defer end()
	var clients sync.WaitGroup
	for range editors {
		clients.Go(func() { l.author(ctx) })
	}
	for range readers {
		clients.Go(func() { l.reader(ctx) })
	}
	l.work(t, lasts/2)
	server.Restart(t)
	l.work(t, lasts/2)
	end()
	clients.Wait()
	l.report(t, url)
}

// work lets the clients run for a while, and at least until they have made some edits and reads,
// however slow the machine is.
func (l *load) work(t *testing.T, d time.Duration) {
	t.Helper()
	edits, reads := l.done()
	until, limit := time.Now().Add(d), time.Now().Add(d+time.Minute)
	for ; ; wait(t.Context(), 10*time.Millisecond) {
		e, r := l.done()
		switch {
		case time.Now().After(until) && e >= edits+editors && r >= reads+readers:
			return
		case time.Now().After(limit):
			t.Fatalf("in %s, %d edits were acknowledged and %d pages read", d+time.Minute, e-edits, r-reads)
		}
	}
}

func (l *load) done() (edits, reads int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.latencies.write), len(l.latencies.read)
}

func migrate(t *testing.T, url string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal("the server's URL cannot be parsed")
	}
	migrator, err := pgmigrate.New(cfg, migrations.FS)
	if err == nil {
		_, err = migrator.Up(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

type load struct {
	*both
	acknowledged []publications // by page

	mu        sync.Mutex
	saved     []saved
	latencies struct{ write, read []time.Duration }
	pause     time.Duration // the longest one between two acknowledged edits
	last      time.Time

	conflicts, refused, unreadable, old atomic.Int64
	stale                               atomic.Pointer[string]
}

// saved is an acknowledged edit.
type saved struct {
	page     uuid.UUID
	revision int32
	body     string
}

// publications are the acknowledged publications of a page, oldest first.
type publications struct {
	mu   sync.Mutex
	list []publication
}

type publication struct {
	revision int
	at       time.Time
}

func (p *publications) add(revision int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, publication{revision, time.Now()})
}

// until returns the newest revision published by a moment.
func (p *publications) until(moment time.Time) (revision int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.list {
		if one.at.Before(moment) {
			revision = max(revision, one.revision)
		}
	}
	return revision
}

// author edits and publishes pages one after the other. Other authors edit some of them too.
func (l *load) author(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		began := time.Now()
		err := l.editOne(ctx, rand.IntN(len(l.pages)), uuid.NewString())
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errConflict):
			l.conflicts.Add(1)
		case err != nil:
			l.refused.Add(1)
			wait(ctx, 50*time.Millisecond)
		default:
			l.mu.Lock()
			l.latencies.write = append(l.latencies.write, time.Since(began))
			if now := time.Now(); !l.last.IsZero() {
				l.pause, l.last = max(l.pause, now.Sub(l.last)), now
			} else {
				l.last = now
			}
			l.mu.Unlock()
		}
	}
}

var errConflict = errors.New("conflict")

func (l *load) editOne(ctx context.Context, n int, text string) error {
	page := l.host + "/pages/" + l.pages[n].ID.String()
	status, _, header, err := send(ctx, http.MethodGet, page, "")
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("read: %d %w", status, err)
	}
	status, body, _, err := send(ctx, http.MethodPut, page, content(text), "If-Match", header.Get("ETag"))
	if status == http.StatusPreconditionFailed {
		return errConflict
	}
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("edit: %d %w", status, err)
	}
	var revision db.PageRevision
	if err := json.Unmarshal(body, &revision); err != nil {
		return err
	}
	l.mu.Lock()
	l.saved = append(l.saved, saved{l.pages[n].ID, revision.Revision, text})
	l.mu.Unlock()
	status, body, _, err = send(ctx, http.MethodPost, page+"/publications", "", "Idempotency-Key", text)
	if err != nil || status != http.StatusCreated {
		return fmt.Errorf("publish: %d %w", status, err)
	}
	var published db.Publication
	if err := json.Unmarshal(body, &published); err != nil {
		return err
	}
	l.acknowledged[n].add(int(published.Revision))
	return nil
}

// reader reads pages and compares them with the publications of a second ago.
func (l *load) reader(ctx context.Context) {
	for ctx.Err() == nil {
		n, began := rand.IntN(len(l.pages)), time.Now()
		want := l.acknowledged[n].until(began.Add(-fresh))
		got, err := l.shown(ctx, l.pages[n].Path)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.unreadable.Add(1)
			wait(ctx, 50*time.Millisecond)
			continue
		case got < want:
			l.old.Add(1)
			l.mustBecome(ctx, n, want)
		}
		l.mu.Lock()
		l.latencies.read = append(l.latencies.read, time.Since(began))
		l.mu.Unlock()
		wait(ctx, 5*time.Millisecond) // forty readers without a pause would leave nothing for the authors
	}
}

// mustBecome waits until an old page is fresh. It waits only while the listener has an excuse.
func (l *load) mustBecome(ctx context.Context, n, want int) {
	for ctx.Err() == nil {
		connected, err := l.listening(ctx)
		excuse := err != nil || connected <= fresh
		got, err := l.shown(ctx, l.pages[n].Path)
		if err == nil && got >= want {
			return
		}
		if err == nil && !excuse && ctx.Err() == nil {
			text := fmt.Sprintf("%s shows revision %d, %d was published over a second ago, and the listener is "+
				"connected for %s", l.pages[n].Path, got, want, connected)
			l.stale.Store(&text)
			return
		}
		wait(ctx, 10*time.Millisecond)
	}
}

// listening returns how long the renderer's listener has been connected.
func (l *load) listening(ctx context.Context) (time.Duration, error) {
	_, body, _, err := send(ctx, http.MethodGet, l.render+"/readyz", "")
	if err != nil {
		return 0, err
	}
	var answer struct {
		Checks map[string][]struct {
			Status        string
			ObservedValue float64
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, err
	}
	check := answer.Checks["postgres:listener"]
	if len(check) == 0 || check[0].Status != "pass" {
		return 0, nil
	}
	return time.Duration(check[0].ObservedValue * float64(time.Second)), nil
}

func (l *load) report(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	lost := 0
	for _, s := range l.saved {
		var there bool
		err := conn.QueryRow(t.Context(),
			"select exists (select from page_revisions where page_id = $1 and revision = $2 and body = $3)",
			s.page, s.revision, s.body).Scan(&there)
		if err != nil {
			t.Fatal(err)
		}
		if !there {
			lost++
		}
	}
	if text := l.stale.Load(); text != nil {
		t.Error(*text)
	}
	if lost > 0 || len(l.saved) == 0 {
		t.Errorf("%d of %d acknowledged edits are lost", lost, len(l.saved))
	}
	t.Logf("%d edits acknowledged, %d lost, %d met another author's, %d refused; longest pause between two %s; edit "+
		"and publish %s",
		len(l.saved), lost, l.conflicts.Load(), l.refused.Load(), l.pause.Round(time.Millisecond),
		spread(l.latencies.write))
	t.Logf("%d pages read, %d refused, %d old while the listener was away, later than %s after it was back: %t; %s",
		len(l.latencies.read), l.unreadable.Load(), l.old.Load(), fresh, l.stale.Load() != nil,
		spread(l.latencies.read))
}

func spread(d []time.Duration) string {
	if len(d) == 0 {
		return "none"
	}
	slices.Sort(d)
	return fmt.Sprintf("median %s, 99 %% below %s", d[len(d)/2].Round(10*time.Microsecond),
		d[len(d)*99/100].Round(10*time.Microsecond))
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
