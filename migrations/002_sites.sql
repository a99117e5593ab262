-- Ids that clients, URLs and messages mention are uuid: they can be made before the row exists, which keeps a
-- retried request idempotent, and they tell nobody how many rows there are. gen_random_uuid() is built in.
-- Rows that are only ever appended and read in order (audit_events, health_checks) have a bigint identity.

create table public.sites (
  id         uuid        not null default gen_random_uuid(),
  slug       text        not null,
  name       text        not null,
  created_at timestamptz not null default now(),
  created_by text        not null default public.actor(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  constraint sites_pkey primary key (id),
  constraint sites_slug_format check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and octet_length(slug) <= 63),
  constraint sites_name_not_blank check (name ~ '\S')
);

-- Only live rows: the slug of a soft-deleted site can be used again.
create unique index sites_slug_live on public.sites (slug) where deleted_at is null;

comment on table public.sites is 'A web site that authors edit and visitors read.';
comment on column public.sites.slug is 'Short name in URLs; at most 63 bytes, so that it can be a DNS label.';
comment on column public.sites.deleted_at is 'Soft delete: set means gone; null means live.';

create trigger sites_stamp_created
  before insert on public.sites
  for each row execute function public.stamp_created();

create trigger sites_stamp_updated
  before insert or update on public.sites
  for each row execute function public.stamp_updated();

---- create above / drop below ----

drop table public.sites;
