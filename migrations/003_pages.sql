-- The page tree. A page's path is its parent's path and its own slug. A trigger derives it, and the constraints prove
-- it: parent_path is part of the foreign key to the parent, with ON UPDATE CASCADE, so that a renamed or moved page
-- carries its whole subtree, also under concurrent edits, and an insert cannot slip under a path that is changing.
-- A page moved below itself would need a path longer than itself: the foreign key cannot hold, the move is refused.
--
-- path is not a generated column: with a BEFORE UPDATE trigger on the table PostgreSQL counts those as changed by
-- every update, path is part of a key, and so each edit of a title would block inserts that refer to the page.

create table public.pages (
  id          uuid        not null default gen_random_uuid(),
  site_id     uuid        not null,
  parent_id   uuid,
  parent_path text,
  slug        text        not null,
  path        text        not null,
  title       text        not null,
  status      text        not null default 'draft',
  position    integer     not null default 0,
  revision    integer     not null default 0,
  created_at  timestamptz not null default now(),
  created_by  text        not null default public.actor(),
  updated_at  timestamptz not null default now(),
  deleted_at  timestamptz,
  constraint pages_pkey primary key (id),
  constraint pages_site_id_key unique (id, site_id),
  constraint pages_path_key unique (id, site_id, path),
  constraint pages_site_id_fkey foreign key (site_id) references public.sites (id),
  constraint pages_parent_fkey foreign key (parent_id, site_id, parent_path)
    references public.pages (id, site_id, path) on update cascade,
  constraint pages_parent_path_set check ((parent_id is null) = (parent_path is null)),
  constraint pages_path_of_parent check (path = rtrim(coalesce(parent_path, ''), '/') || '/' || slug),
  -- Only the home page has no slug; it has no parent either, so its path is '/'.
  constraint pages_slug_format check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' or (slug = '' and parent_id is null)),
  -- Leaves a NOTIFY payload with the path in it far below its limit of 8000 bytes.
  constraint pages_path_length check (octet_length(path) <= 1000),
  constraint pages_path_depth check (octet_length(path) - octet_length(replace(path, '/', '')) <= 16),
  constraint pages_title_not_blank check (title ~ '\S'),
  constraint pages_status_known check (status in ('draft', 'review', 'published', 'archived')),
  constraint pages_revision_not_negative check (revision >= 0)
);

-- Only live rows: the path of a soft-deleted page can be used again.
create unique index pages_path_live on public.pages (site_id, path) where deleted_at is null;
create index pages_site_id on public.pages (site_id);
create index pages_parent_id on public.pages (parent_id);

comment on table public.pages is 'A page of a site, as its authors see it: the tree, the working title, the newest revision.';
comment on column public.pages.parent_path is 'The parent''s path; filled from parent_id and kept by the foreign key.';
comment on column public.pages.path is 'Derived, never written. Where the next publication puts the page; the current one keeps its own path.';
comment on column public.pages.position is 'Order among the pages of the same parent, ascending.';
comment on column public.pages.revision is
  'Number of the newest page_revisions row, 0 before the first. Also the version for optimistic concurrency: an editor says which one it saw.';
comment on column public.pages.deleted_at is 'Soft delete: set means gone; null means live.';

create function public.derive_page_path() returns trigger
  language plpgsql
  set search_path = pg_catalog, pg_temp
as $$
begin
  if new.parent_id is null then
    new.parent_path := null;
  -- The parent is another one. Otherwise this may be the foreign key's cascade, which brings the right parent_path.
  elsif tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id or new.site_id <> old.site_id then
    select path into new.parent_path
    from public.pages
    where id = new.parent_id and site_id = new.site_id and deleted_at is null
    -- The foreign key takes this lock anyway; taken here, the deletion of a parent is waited for and seen.
    for key share;

    if not found then
      raise exception 'parent page % is not a live page of site %', new.parent_id, new.site_id
        using errcode = 'foreign_key_violation', constraint = 'pages_parent_fkey', table = tg_table_name, schema = tg_table_schema;
    end if;
  end if;

  new.path := rtrim(coalesce(new.parent_path, ''), '/') || '/' || new.slug;
  return new;
end
$$;

comment on function public.derive_page_path() is
  'Before insert or update of a page: sets parent_path from the parent, and path from parent_path and slug.';

create trigger pages_derive_path
  before insert or update of site_id, parent_id, parent_path, slug, path on public.pages
  for each row execute function public.derive_page_path();

create trigger pages_stamp_created
  before insert on public.pages
  for each row execute function public.stamp_created();

create trigger pages_stamp_updated
  before insert or update on public.pages
  for each row execute function public.stamp_updated();

---- create above / drop below ----

drop table public.pages;
drop function public.derive_page_path();
