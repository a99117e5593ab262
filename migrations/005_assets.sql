-- Metadata only: files belong in an object store or on a disk. In a row they would travel through every backup, the
-- write-ahead log and the audit trail.

create table public.assets (
  id         uuid        not null default gen_random_uuid(),
  site_id    uuid        not null,
  name       text        not null,
  media_type text        not null,
  byte_size  bigint      not null,
  sha256     bytea       not null,
  location   text        not null,
  created_at timestamptz not null default now(),
  created_by text        not null default public.actor(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  constraint assets_pkey primary key (id),
  constraint assets_site_id_fkey foreign key (site_id) references public.sites (id),
  constraint assets_name_not_blank check (name ~ '\S' and octet_length(name) <= 255),
  constraint assets_media_type_format check (media_type ~ '^[a-z]+/[a-z0-9.+-]+$'),
  constraint assets_byte_size_not_negative check (byte_size >= 0),
  constraint assets_sha256_length check (octet_length(sha256) = 32),
  constraint assets_location_not_blank check (location ~ '\S')
);

-- Only live rows: the name of a soft-deleted asset can be used again.
create unique index assets_name_live on public.assets (site_id, name) where deleted_at is null;
create index assets_site_id on public.assets (site_id);

comment on table public.assets is 'An image or other file that blocks of a site mention by name.';
comment on column public.assets.name is 'What a block says in its asset field, for example logo.svg.';
comment on column public.assets.byte_size is 'Size of the file in bytes.';
comment on column public.assets.sha256 is 'SHA-256 of the file, 32 bytes.';
comment on column public.assets.location is 'Where the file is kept: an object store key, a URL or a path.';
comment on column public.assets.deleted_at is 'Soft delete: set means gone; null means live.';

create trigger assets_stamp_created
  before insert on public.assets
  for each row execute function public.stamp_created();

create trigger assets_stamp_updated
  before insert or update on public.assets
  for each row execute function public.stamp_updated();

---- create above / drop below ----

drop table public.assets;
