package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/page-builder/persistence/examples/pages"
	"github.com/page-builder/persistence/examples/pages/db"
)

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

// failHalfway publishes a section with one page that has no content yet.
func (s *story) failHalfway(ctx context.Context) error {
	s.title("A transaction that fails half-way leaves nothing behind")
	q := db.New(s.pool)
	section, err := q.PageByPath(ctx, db.PageByPathParams{SiteID: s.site.ID, Path: "/workshop"})
	if err != nil {
		return err
	}
	draft, err := q.CreatePage(ctx, db.CreatePageParams{
		SiteID: s.site.ID, ParentID: &section.ID, Slug: "kiln", Title: "The kiln", Position: 1000,
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
	if !errors.Is(err, pages.ErrNoContent) {
		return fmt.Errorf("publishing a page without content: %w", err)
	}
	online, queryErr := q.ListCurrentPublications(ctx, s.site.ID)
	if queryErr != nil {
		return queryErr
	}
	if len(online) != 0 {
		return fmt.Errorf("%d pages are online after a rollback", len(online))
	}
	s.say("the %d pages of the workshop were to go online together; %d were published, then:",
		len(workshop), len(workshop)-1)
	s.say("%v: rolled back, %d pages online", pages.ErrNoContent, len(online))
	_, err = pages.Save(ctx, s.pool, pages.Edit{
		PageID: draft.ID, Title: "The kiln", Actor: "Tomasz Zieliński",
		Blocks: json.RawMessage(`[{"type":"paragraph",
			"text":"It arrives in spring. Until then, Odile takes pots to the school on Thursdays."}]`),
	})
	if err != nil {
		return err
	}
	_, err = pages.Save(ctx, s.pool, pages.Edit{
		PageID: draft.ID, SeenRevision: 0, Title: "Kiln", Blocks: json.RawMessage(`[]`), Actor: "Joan Whitlock",
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
