-- name: SavePageRevision :one
-- Saves the next revision if the page is still at the revision that the editor saw. No row: somebody was faster, or
-- the page is gone; read the page and tell the editor.
with page as (
  update pages
  set revision = pages.revision + 1, title = @title
  where pages.id = @page_id and pages.revision = @seen_revision and pages.deleted_at is null
  returning pages.id, pages.revision
)
insert into page_revisions (page_id, revision, title, blocks)
select page.id, page.revision, @title, @blocks
from page
returning *;

-- name: PageRevision :one
select * from page_revisions where page_id = @page_id and revision = @revision;

-- name: ListPageRevisions :many
-- Newest first, without the content.
select revision, title, words, created_at, created_by
from page_revisions
where page_id = @page_id
order by revision desc;
