-- Publishing, in one transaction: LockPage, PublicationByKey (found: done already), PublishPage.

-- name: PublicationByKey :one
select * from publications where idempotency_key = @idempotency_key;

-- name: PublishPage :one
-- Puts a revision of a page online at the page's path, in place of the revision that was. No row: there is no such
-- live page or revision. Unique violation: the key was used before, the path is still taken by another page's
-- publication, or somebody published this page at the same moment (lock it first).
with page as (
  update pages
  set status = 'published'
  from page_revisions as r
  where pages.id = @page_id and pages.deleted_at is null
    and r.page_id = pages.id and r.revision = @revision
  returning pages.id, pages.site_id, pages.path, r.revision
),
former as (
  -- A publication that another transaction began after this one did must not end before it began.
  update publications set ended_at = greatest(now(), published_at), ended_by = actor()
  from page
  where publications.page_id = page.id and publications.ended_at is null
  returning publications.id
)
insert into publications (site_id, page_id, revision, path, idempotency_key)
select page.site_id, page.id, page.revision, page.path, @idempotency_key
from page
-- Reading all of former makes PostgreSQL end it before the new row meets the unique index.
cross join (select count(*) from former) as ended
returning *;

-- name: UnpublishPage :one
-- Takes a page offline. No row: it was not online.
with publication as (
  update publications set ended_at = greatest(now(), published_at), ended_by = actor()
  where publications.page_id = @page_id and publications.ended_at is null
  returning *
),
page as (
  update pages set status = 'draft' from publication where pages.id = publication.page_id
)
select * from publication;

-- name: CurrentPublication :one
-- What a visitor of the path sees.
select
  publications.id, publications.page_id, publications.path, publications.revision,
  publications.published_at, publications.published_by,
  page_revisions.title, page_revisions.blocks, page_revisions.words
from publications
join page_revisions using (page_id, revision)
where publications.site_id = @site_id and publications.path = @path and publications.ended_at is null;

-- name: CurrentPublicationOfPage :one
select * from publications where page_id = @page_id and ended_at is null;

-- name: ListCurrentPublications :many
-- All that is online, by path: to fill a cache or a menu.
select
  publications.page_id, publications.path, publications.revision, publications.published_at,
  page_revisions.title, page_revisions.words
from publications
join page_revisions using (page_id, revision)
where publications.site_id = @site_id and publications.ended_at is null
order by publications.path;

-- name: ListPagePublications :many
-- The history of a page, newest first.
select * from publications where page_id = @page_id order by ended_at desc nulls first, published_at desc;

-- name: FormerRevision :one
-- The revision that was online before the current one: publish it to roll back. No row: there is none.
select former.revision
from publications as former
join publications as shown on shown.page_id = former.page_id and shown.ended_at is null
where former.page_id = @page_id and former.ended_at is not null and former.revision <> shown.revision
order by former.ended_at desc, former.published_at desc
limit 1;
