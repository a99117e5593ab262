-- What a page says, one row per saved state, never changed: every former state can be read and published again.
-- The plain text of the blocks and its number of words are generated columns, so that lists and search do not
-- walk JSON.

create function public.block_text(blocks jsonb) returns text
  language sql immutable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select coalesce(string_agg(words, E'\n' order by ordinal), '')
  from (
    select
      found.ordinal,
      concat_ws(' ',
        found.block ->> 'title',
        found.block ->> 'text',
        (
          select string_agg(item.value #>> '{}', ' ' order by item.ordinality)
          from jsonb_array_elements(
            case jsonb_typeof(found.block -> 'items') when 'array' then found.block -> 'items' else '[]' end
          ) with ordinality as item
          where jsonb_typeof(item.value) = 'string'
        ),
        found.block ->> 'cite',
        found.block ->> 'caption'
      ) as words
    -- strict: in lax mode .** unwraps arrays and returns each nested block twice.
    from jsonb_path_query(blocks, 'strict $.** ? (@.type() == "object")') with ordinality as found (block, ordinal)
  ) as block_words
  where words <> ''
$$;

comment on function public.block_text(jsonb) is
  'The words a reader sees, in reading order, one block a line; blocks nest to any depth.';

create function public.word_count(body text) returns integer
  language sql immutable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_length(regexp_split_to_array(nullif(btrim(body, E' \t\r\n'), ''), '\s+'), 1), 0)
$$;

comment on function public.word_count(text) is 'Runs of characters that are not white space.';

create table public.page_revisions (
  page_id    uuid        not null,
  revision   integer     not null,
  title      text        not null,
  blocks     jsonb       not null,
  body       text        not null generated always as (public.block_text(blocks)) stored,
  words      integer     not null generated always as (public.word_count(public.block_text(blocks))) stored,
  created_at timestamptz not null default now(),
  created_by text        not null default public.actor(),
  constraint page_revisions_pkey primary key (page_id, revision),
  constraint page_revisions_page_id_fkey foreign key (page_id) references public.pages (id),
  constraint page_revisions_revision_positive check (revision > 0),
  constraint page_revisions_title_not_blank check (title ~ '\S'),
  constraint page_revisions_blocks_array check (jsonb_typeof(blocks) = 'array')
);

-- 'simple' stems nothing: the content may be in any language.
create index page_revisions_search on public.page_revisions using gin (to_tsvector('simple', title || ' ' || body));

comment on table public.page_revisions is 'An immutable state of a page: its title and its content blocks.';
comment on column public.page_revisions.blocks is 'Array of content blocks, each an object with a type; columns, callouts and sections hold further blocks.';
comment on column public.page_revisions.body is 'The plain text of the blocks, for search and excerpts.';
comment on column public.page_revisions.words is 'Number of words in body.';

create trigger page_revisions_immutable
  before update or delete or truncate on public.page_revisions
  for each statement execute function public.reject_change('a page revision is immutable; save a new one');

create trigger page_revisions_stamp_created
  before insert on public.page_revisions
  for each row execute function public.stamp_created();

---- create above / drop below ----

drop table public.page_revisions;
drop function public.word_count(text);
drop function public.block_text(jsonb);
