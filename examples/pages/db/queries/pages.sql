-- name: CreatePage :one
-- A page of the first level has no parent; the home page has no parent and an empty slug.
insert into pages (site_id, parent_id, slug, title, position)
values (@site_id, sqlc.narg('parent_id'), @slug, @title, @position)
returning *;

-- name: PageByID :one
select * from pages where id = @id and deleted_at is null;

-- name: PageByPath :one
select * from pages where site_id = @site_id and path = @path and deleted_at is null;

-- name: LockPage :one
-- Locks the page until the transaction ends. Waits for a concurrent change first.
select * from pages where id = @id and deleted_at is null for update;

-- name: MovePage :one
-- Renames a page or puts it below another parent; the paths of its subtree follow. Publications keep theirs.
update pages
set parent_id = sqlc.narg('parent_id'), slug = @slug, position = @position
where id = @id and deleted_at is null
returning *;

-- name: SetPageStatus :one
update pages set status = @status where id = @id and deleted_at is null returning *;

-- name: ListPageTree :many
-- The live pages of a site, each after its parent. published_revision is null for a page that is not online, words
-- counts the newest revision.
with recursive tree as (
  select
    p.id, p.parent_id, p.path, p.title, p.status, p.revision, p.updated_at, 0 as depth,
    array[(p.position, p.path)] as sort_key
  from pages as p
  where p.site_id = @site_id and p.parent_id is null and p.deleted_at is null
  union all
  select
    p.id, p.parent_id, p.path, p.title, p.status, p.revision, p.updated_at, tree.depth + 1,
    tree.sort_key || (p.position, p.path)
  from pages as p
  join tree on tree.id = p.parent_id
  where p.deleted_at is null
)
select
  tree.id, tree.parent_id, tree.path, tree.title, tree.status, tree.revision, tree.updated_at, tree.depth,
  shown.revision as published_revision,
  coalesce(newest.words, 0)::integer as words
from tree
left join publications as shown on shown.page_id = tree.id and shown.ended_at is null
left join page_revisions as newest on newest.page_id = tree.id and newest.revision = tree.revision
order by tree.sort_key;

-- name: CountPagesByStatus :many
select status, count(*) as pages
from pages
where site_id = @site_id and deleted_at is null
group by status
order by status;

-- name: LargestPages :many
-- By the number of words in the newest revision.
select p.id, p.path, p.title, r.revision, r.words, pg_column_size(r.blocks)::integer as stored_bytes
from pages as p
join page_revisions as r on r.page_id = p.id and r.revision = p.revision
where p.site_id = @site_id and p.deleted_at is null
order by r.words desc, p.path
limit @max_pages;

-- name: SearchPages :many
-- Live pages with a matching newest revision, best first. The query is plain search input: words, "a phrase", or, -not.
select
  p.id, p.path, r.title,
  ts_rank(to_tsvector('simple', r.title || ' ' || r.body), websearch_to_tsquery('simple', @query))::real as rank,
  ts_headline('simple', r.body, websearch_to_tsquery('simple', @query), 'StartSel=[, StopSel=], MaxWords=20, MinWords=8')::text
    as excerpt
from page_revisions as r
join pages as p on p.id = r.page_id and p.revision = r.revision
where p.site_id = @site_id
  and p.deleted_at is null
  and to_tsvector('simple', r.title || ' ' || r.body) @@ websearch_to_tsquery('simple', @query)
order by rank desc, p.path
limit @max_pages;

-- name: DeletePage :many
-- Soft-deletes a page and its live subtree and takes them offline. Returns the paths; none if the page is not live.
-- LockPage first, if pages may be created below it at the same moment.
with recursive doomed as (
  select pages.id from pages where pages.id = @id and pages.deleted_at is null
  union
  select p.id from pages as p join doomed on p.parent_id = doomed.id where p.deleted_at is null
),
offline as (
  -- A publication that another transaction began after this one did must not end before it began.
  update publications set ended_at = greatest(now(), published_at), ended_by = actor()
  from doomed
  where publications.page_id = doomed.id and publications.ended_at is null
)
update pages set deleted_at = now()
from doomed
where pages.id = doomed.id and pages.deleted_at is null
returning pages.path;

-- name: RestorePage :many
-- Brings a soft-deleted page back with what was deleted together with it. What was published comes back as a draft
-- and stays offline until it is published again. Returns the paths; none if the page is not deleted or its parent
-- still is. Unique violation: a path was taken meanwhile.
with recursive lost as (
  select pages.id, pages.deleted_at
  from pages
  left join pages as parent on parent.id = pages.parent_id
  where pages.id = @id and pages.deleted_at is not null and parent.deleted_at is null
  union
  select p.id, p.deleted_at from pages as p join lost on p.parent_id = lost.id and p.deleted_at = lost.deleted_at
)
update pages set deleted_at = null, status = case when status = 'published' then 'draft' else status end
from lost
where pages.id = lost.id
returning pages.path;
