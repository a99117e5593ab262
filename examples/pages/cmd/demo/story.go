package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/examples/pages"
	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/migrations"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtx"
)

// story is the state that its parts hand on. Each part is a method: it does one thing, and says what it did.
type story struct {
	out    io.Writer
	began  time.Time
	part   int
	log    *slog.Logger
	own    bool // the server is thrown away afterwards
	atEnds []func()

	cfg      pgconfig.Config
	migrator *pgmigrate.Migrator
	pool     *pgxpool.Pool
	notified chan published
	content  *pages.Content
	site     db.Site
}

// published is the payload of the channel page_published.
type published struct {
	Path     string `json:"path"`
	Revision *int32 `json:"revision"`
}

func (s *story) title(text string) {
	s.part++
	fmt.Fprintf(s.out, "\n%2d. %s\n", s.part, text)
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, "    "+format+"\n", args...) }

func (s *story) atEnd(fn func()) { s.atEnds = append(s.atEnds, fn) }

func (s *story) end() {
	for _, fn := range slices.Backward(s.atEnds) {
		fn()
	}
}

// since is rounded for reading, not for comparing.
func since(t time.Time) time.Duration {
	d := time.Since(t)
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}

func (s *story) migrate(ctx context.Context) error {
	s.title("Migrations: the schema, from files that tern could apply as well (pgmigrate)")
	direct, err := s.cfg.DirectConfig()
	if err != nil {
		return err
	}
	s.migrator, err = pgmigrate.New(direct, migrations.FS, pgmigrate.WithLogger(s.log))
	if err != nil {
		return err
	}
	began := time.Now()
	result, err := s.migrator.Up(ctx)
	if err != nil {
		return err
	}
	for _, step := range result.Steps {
		s.say("%-28s %s", step.Name, step.Duration.Round(100*time.Microsecond))
	}
	s.say("version %d, was %d; %s in all", result.To, result.From, since(began))
	began = time.Now()
	if _, err := s.migrator.Up(ctx); err != nil {
		return err
	}
	s.say("once more, as the next instance of a deployment would: nothing to do, no lock taken, %s", since(began))
	return nil
}

func (s *story) connect(ctx context.Context) error {
	s.title("A pool with production's limits (pgconfig, pgpool)")
	began := time.Now()
	pool, err := pgpool.Connect(ctx, s.cfg, pgpool.WithLogger(s.log))
	if err != nil {
		return err
	}
	s.pool = pool
	s.atEnd(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := pgpool.Shutdown(ctx, pool); err != nil {
			s.say("%v", err)
		}
	})
	s.say("connected in %s; at most %d connections, %s to get one, %s for a statement",
		since(began), s.cfg.MaxConns, s.cfg.AcquireTimeout, s.cfg.StatementTimeout)
	return nil
}

// listen collects what the publication trigger notifies, on a connection of its own.
func (s *story) listen(ctx context.Context) error {
	direct, err := s.cfg.DirectConfig()
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, direct)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "listen page_published"); err != nil {
		return errors.Join(err, conn.Close(ctx))
	}
	s.notified = make(chan published, 1000)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer conn.Close(context.WithoutCancel(ctx))
		for {
			n, err := conn.WaitForNotification(ctx)
			if err != nil {
				return
			}
			var p published
			if json.Unmarshal([]byte(n.Payload), &p) == nil {
				s.notified <- p
			}
		}
	}()
	s.atEnd(func() { cancel(); <-done })
	return nil
}

func (s *story) importSite(ctx context.Context) error {
	s.title("A site is imported, in one transaction (pgtx)")
	content, err := pages.Fernhill()
	if err != nil {
		return err
	}
	s.content = content
	began := time.Now()
	s.site, err = pages.Import(ctx, s.pool, content, func(done int) {
		if done%20 == 0 {
			s.say("%d of %d pages …", done, len(content.Pages))
		}
	})
	if err != nil {
		return err
	}
	s.say("%s: %d pages, %d pictures, in %s", s.site.Name, len(content.Pages), len(content.Assets), since(began))
	return nil
}

// failHalfway publishes a section of which one page has no content yet.
func (s *story) failHalfway(ctx context.Context) error {
	s.title("A transaction that fails half-way leaves nothing behind")
	q := db.New(s.pool)
	section, err := q.PageByPath(ctx, db.PageByPathParams{SiteID: s.site.ID, Path: "/workshop"})
	if err != nil {
		return err
	}
	draft, err := q.CreatePage(ctx, db.CreatePageParams{
		SiteID: s.site.ID, ParentID: &section.ID, Slug: "laser-cutter", Title: "The laser cutter", Position: 1000,
	})
	if err != nil {
		return err
	}
	tree, err := q.ListPageTree(ctx, s.site.ID)
	if err != nil {
		return err
	}
	var workshop []uuid.UUID
	for _, p := range tree {
		if strings.HasPrefix(p.Path, "/workshop") && p.ID != draft.ID {
			workshop = append(workshop, p.ID)
		}
	}
	workshop = append(workshop, draft.ID)
	err = pages.PublishTogether(ctx, s.pool, workshop, "workshop-1", "Tomasz Zieliński")
	if err == nil {
		return errors.New("a page without content was published")
	}
	online, queryErr := q.ListCurrentPublications(ctx, s.site.ID)
	if queryErr != nil {
		return queryErr
	}
	if len(online) != 0 {
		return fmt.Errorf("%d pages are online after a rollback", len(online))
	}
	s.say("the %d pages of the workshop were to go online together; %d were published when", len(workshop), len(workshop)-1)
	s.say("the last had no content (%s): rolled back, %d pages online", pgerr.Of(err), len(online))
	_, err = pages.Save(ctx, s.pool, pages.Edit{
		PageID: draft.ID, Title: "The laser cutter", Actor: "Tomasz Zieliński",
		Blocks: json.RawMessage(`[{"type":"paragraph","text":"It arrives in spring. Until then, the fret saw is on the second bench."}]`),
	})
	if err != nil {
		return err
	}
	_, err = pages.Save(ctx, s.pool, pages.Edit{
		PageID: draft.ID, SeenRevision: 0, Title: "Laser", Blocks: json.RawMessage(`[]`), Actor: "Joan Whitlock",
	})
	if !errors.Is(err, pages.ErrEditConflict) {
		return fmt.Errorf("a second editor who saw the old revision got: %w", err)
	}
	s.say("its author writes it; a second editor, who had opened the empty page, is told: %v", pages.ErrEditConflict)
	return nil
}

func (s *story) publish(ctx context.Context) error {
	s.title("Every page is published: lock, look for the request's key, end the former publication, insert the new")
	tree, err := db.New(s.pool).ListPageTree(ctx, s.site.ID)
	if err != nil {
		return err
	}
	began := time.Now()
	for i, page := range tree {
		request := pages.Publication{PageID: page.ID, Key: fmt.Sprintf("first-%s", page.ID), Actor: "Maren Holloway"}
		first, err := pages.Publish(ctx, s.pool, request)
		if err != nil {
			return err
		}
		if i == 0 { // the client's network failed, and it asks again
			again, err := pages.Publish(ctx, s.pool, request)
			if err != nil || again.ID != first.ID {
				return fmt.Errorf("a repeated request made publication %s besides %s: %w", again.ID, first.ID, err)
			}
		}
		if (i+1)%20 == 0 {
			s.say("%d of %d pages …", i+1, len(tree))
		}
	}
	took := time.Since(began)
	s.say("%d transactions over 3 tables in %s, %s each; one request came twice and counted once",
		len(tree), took.Round(time.Millisecond), (took / time.Duration(len(tree)+1)).Round(10*time.Microsecond))
	return s.awaitNotifications(ctx, len(tree))
}

func (s *story) awaitNotifications(ctx context.Context, want int) error {
	limit := time.NewTimer(5 * time.Second)
	defer limit.Stop()
	var last published
	for got := range want {
		select {
		case last = <-s.notified:
		case <-limit.C:
			return fmt.Errorf("%d of %d notifications arrived within 5 s", got, want)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.say("another connection that listens was told of all %d at their commits, the last one %s", want, last.Path)
	return nil
}

// retry lets a second author change a page inside the first one's transaction.
func (s *story) retry(ctx context.Context) error {
	s.title("Two authors change one page at the same moment: the database refuses one, which runs again")
	home, err := db.New(s.pool).PageByPath(ctx, db.PageByPathParams{SiteID: s.site.ID, Path: "/"})
	if err != nil {
		return err
	}
	attempts := 0
	opts := pgtx.Options{TxOptions: pgx.TxOptions{IsoLevel: pgx.RepeatableRead}}
	began := time.Now()
	title, err := pgtx.ValueWith(ctx, s.pool, opts, func(ctx context.Context, tx pgx.Tx) (string, error) {
		attempts++
		var title string
		if err := tx.QueryRow(ctx, "select title from pages where id = $1", home.ID).Scan(&title); err != nil {
			return "", err
		}
		s.say("attempt %d reads the title %q", attempts, title)
		if attempts == 1 {
			// On the pool, so in a transaction of its own, as if from another process.
			_, err := s.pool.Exec(ctx, "update pages set title = title || ', since 1906' where id = $1", home.ID)
			if err != nil {
				return "", err
			}
			s.say("          meanwhile, somebody else appends to it and commits")
		}
		err := tx.QueryRow(ctx, "update pages set title = $2 || ' · open today' where id = $1 returning title",
			home.ID, title).Scan(&title)
		if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) {
			s.say("          its own change meets SQLSTATE %s: %s", pgErr.Code, pgErr.Message)
		}
		return title, err
	})
	if err != nil {
		return err
	}
	if attempts != 2 || !strings.Contains(title, "since 1906") {
		return fmt.Errorf("after %d attempts the title is %q", attempts, title)
	}
	s.say("          and commits: %q has both changes, %s in all", title, since(began))
	return nil
}

func (s *story) query(ctx context.Context) error {
	s.title("Queries are SQL in files; rows are Go structs that the compiler checks (sqlc)")
	q := db.New(s.pool)
	counts, err := q.CountPagesByStatus(ctx, s.site.ID)
	if err != nil {
		return err
	}
	for _, c := range counts {
		s.say("%d pages are %s", c.Pages, c.Status)
	}
	largest, err := q.LargestPages(ctx, db.LargestPagesParams{SiteID: s.site.ID, MaxPages: 3})
	if err != nil {
		return err
	}
	for _, p := range largest {
		s.say("%4d words  %-32s %s", p.Words, p.Path, p.Title)
	}
	began := time.Now()
	found, err := q.SearchPages(ctx, db.SearchPagesParams{SiteID: s.site.ID, Query: "flood", MaxPages: 3})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return errors.New("the search for flood found nothing")
	}
	s.say("a search for “flood” takes %s; first %s: %s", since(began), found[0].Path, strings.Join(strings.Fields(found[0].Excerpt), " "))
	home, err := q.PageByPath(ctx, db.PageByPathParams{SiteID: s.site.ID, Path: "/workshop/laser-cutter"})
	if err != nil {
		return err
	}
	events, err := q.ListAuditEventsOfPage(ctx, db.ListAuditEventsOfPageParams{PageID: home.ID, MaxEvents: 10})
	if err != nil {
		return err
	}
	s.say("the audit trail of %s, written by triggers:", home.Path)
	for _, e := range slices.Backward(events) {
		s.say("  %s  %-6s %-12s by %s", e.OccurredAt.Format(time.TimeOnly), e.Action, e.TableName, e.Actor)
	}
	return nil
}

func (s *story) probe(ctx context.Context) error {
	s.title("Readiness over HTTP, as Kubernetes would ask (pghealth)")
	probe, err := pghealth.New(s.pool, pghealth.Options{})
	if err != nil {
		return err
	}
	defer probe.Close()
	mux := http.NewServeMux()
	mux.Handle("/livez", probe.Live())
	mux.Handle("/readyz", probe.Ready())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(l) //nolint:errcheck // Close below ends it, which is the error
	defer server.Close()

	if err := s.ask(ctx, "http://"+l.Addr().String()+"/readyz", http.StatusOK); err != nil {
		return err
	}
	var held []*pgxpool.Conn
	for range s.pool.Config().MaxConns {
		c, err := s.pool.Acquire(ctx)
		if err != nil {
			return err
		}
		held = append(held, c)
	}
	s.say("all %d connections of the pool are taken; the answer must stay 200, or every instance would go at once:", len(held))
	err = s.ask(ctx, "http://"+l.Addr().String()+"/readyz", http.StatusOK)
	for _, c := range held {
		c.Release()
	}
	if err != nil {
		return err
	}
	probe.Drain()
	s.say("the service begins to shut down; traffic must go elsewhere before the pool closes:")
	return s.ask(ctx, "http://"+l.Addr().String()+"/readyz", http.StatusServiceUnavailable)
}

func (s *story) ask(ctx context.Context, url string, want int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	s.say("  GET %s → %d", req.URL.Path, resp.StatusCode)
	s.say("  %s", strings.TrimSpace(string(body)))
	if resp.StatusCode != want {
		return fmt.Errorf("readiness answered %d, want %d", resp.StatusCode, want)
	}
	return nil
}

func (s *story) figures(context.Context) error {
	s.title("What the pool did")
	st := s.pool.Stat()
	s.say("%d times a connection was taken, %d connections were opened for it: %.1f %% reused",
		st.AcquireCount(), st.NewConnsCount(), 100*(1-float64(st.NewConnsCount())/float64(st.AcquireCount())))
	s.say("%s to get one on average; %d in use now", (st.AcquireDuration() / time.Duration(st.AcquireCount())).Round(100*time.Nanosecond),
		st.AcquiredConns())
	if st.AcquiredConns() != 0 {
		return fmt.Errorf("%d connections were not given back", st.AcquiredConns())
	}
	return nil
}

func (s *story) rollBackAndForth(ctx context.Context) error {
	s.title("The last migration back, and forth again")
	down, err := s.migrator.Down(ctx)
	if err != nil {
		return err
	}
	up, err := s.migrator.Up(ctx)
	if err != nil {
		return err
	}
	s.say("version %d → %d → %d, in %s and %s", down.From, down.To, up.To,
		down.Duration.Round(time.Millisecond), up.Duration.Round(time.Millisecond))
	return nil
}

func (s *story) farewell() {
	fmt.Fprintf(s.out, "\nDone in %s.", since(s.began))
	if s.own {
		fmt.Fprintf(s.out, " The server stops in a few seconds and leaves nothing behind.\n")
	} else {
		fmt.Fprintf(s.out, " The site is in your database; go tool mage migrate:reset empties a local one.\n")
	}
	fmt.Fprint(s.out, `
Next:
  go tool mage db:start         a PostgreSQL for development that keeps its data
  go tool mage migrate          its schema; migrate:status and migrate:plan look without touching
  go tool mage test             every test, each on a real database of its own
  examples/pages/pages.go       the transactions you have just seen
`)
}
