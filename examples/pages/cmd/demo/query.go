package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/page-builder/persistence/examples/pages/db"
)

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
	var paths []string
	for _, p := range found {
		paths = append(paths, p.Path)
	}
	s.say("a search for “flood” takes %s and finds %s", since(began), strings.Join(paths, ", "))
	kiln, err := q.PageByPath(ctx, db.PageByPathParams{SiteID: s.site.ID, Path: "/workshop/kiln"})
	if err != nil {
		return err
	}
	events, err := q.ListAuditEventsOfPage(ctx, db.ListAuditEventsOfPageParams{PageID: kiln.ID, MaxEvents: 10})
	if err != nil {
		return err
	}
	s.say("the audit trail of %s, written by triggers:", kiln.Path)
	for _, e := range slices.Backward(events) {
		s.say("  %s  %-6s %-12s by %s", e.OccurredAt.Format(time.TimeOnly), e.Action, e.TableName, e.Actor)
	}
	return nil
}
