-- What visitors see: which revision of a page was online where, from when to when, and who put it there.

create table public.publications (
  id              uuid        not null default gen_random_uuid(),
  site_id         uuid        not null,
  page_id         uuid        not null,
  revision        integer     not null,
  path            text        not null,
  idempotency_key text        not null,
  published_at    timestamptz not null default now(),
  published_by    text        not null default public.actor(),
  ended_at        timestamptz,
  ended_by        text,
  constraint publications_pkey primary key (id),
  constraint publications_idempotency_key_key unique (idempotency_key),
  constraint publications_page_fkey foreign key (page_id, site_id) references public.pages (id, site_id),
  constraint publications_revision_fkey foreign key (page_id, revision) references public.page_revisions (page_id, revision),
  constraint publications_path_format check (path like '/%' and octet_length(path) <= 1000),
  constraint publications_idempotency_key_length check (octet_length(idempotency_key) between 1 and 255),
  constraint publications_end_complete check ((ended_at is null) = (ended_by is null)),
  constraint publications_end_after_start check (ended_at >= published_at)
);

-- A page is online at most once, and a path of a site shows at most one page.
create unique index publications_page_current on public.publications (page_id) where ended_at is null;
create unique index publications_path_current on public.publications (site_id, path) where ended_at is null;
create index publications_page_site on public.publications (page_id, site_id);
create index publications_page_revision on public.publications (page_id, revision);

comment on table public.publications is 'A revision of a page that is online (ended_at is null) or was.';
comment on column public.publications.path is 'The page''s path when it was published: a page that is renamed stays online at this path until it is published again.';
comment on column public.publications.idempotency_key is 'Chosen by the client once per wish to publish: a retried request finds its publication instead of making another.';

-- History stays true: a current publication can be ended, nothing else can change.
create trigger publications_only_end
  before update on public.publications
  for each row
  when (
    old.ended_at is not null
    or (old.id, old.site_id, old.page_id, old.revision, old.path, old.idempotency_key, old.published_at, old.published_by)
      is distinct from
       (new.id, new.site_id, new.page_id, new.revision, new.path, new.idempotency_key, new.published_at, new.published_by)
  )
  execute function public.reject_change('a publication can only be ended');

create function public.notify_page_published() returns trigger
  language plpgsql
  set search_path = pg_catalog, pg_temp
as $$
declare
  shown public.publications;
begin
  select * into shown
  from public.publications
  where site_id = new.site_id and path = new.path and ended_at is null;

  -- Ended and replaced in the same transaction: the successor's own trigger tells it.
  if found and shown.id <> new.id then
    return null;
  end if;

  perform pg_notify('page_published', json_build_object(
    'site_id', new.site_id,
    'page_id', new.page_id,
    'path', new.path,
    'revision', shown.revision
  )::text);
  return null;
end
$$;

comment on function public.notify_page_published() is
  'Tells the channel page_published what a path shows now: {"site_id", "page_id", "path", "revision"}; revision null means nothing any more.';

-- Deferred to the commit, when it is known what the path shows in the end; publishing anew is then one message,
-- not "gone" and "there".
create constraint trigger publications_notify
  after insert or update on public.publications
  deferrable initially deferred
  for each row execute function public.notify_page_published();

---- create above / drop below ----

drop table public.publications;
drop function public.notify_page_published();
