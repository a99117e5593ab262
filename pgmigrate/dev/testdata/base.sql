create schema audit;
create type color as enum ('red', 'green', 'blue');
create type pair as (a integer, b text);
create domain email as text constraint email_has_at check (value like '%@%');

create table authors (
    id bigint generated always as identity primary key,
    mail email not null,
    name text not null,
    joined timestamptz not null default now()
);
create table pages (
    id bigint generated always as identity primary key,
    author_id bigint references authors (id),
    title text not null,
    slug text not null constraint pages_slug_key unique,
    body text,
    kind integer not null default 1 constraint pages_kind_check check (kind > 0),
    color color not null default 'red'
);
create index pages_title on pages (title);
create table tags (id integer primary key, page_id bigint not null, label varchar(40) not null, weight integer);
create table audit.entries (at timestamptz not null, page_id bigint, what text) partition by range (at);
create table audit.entries_2026 partition of audit.entries for values from ('2026-01-01') to ('2027-01-01');
create unlogged table scratch (id serial primary key, note text);

create function touch() returns trigger language plpgsql as $$
begin
    -- a semicolon; in a comment
    return new;
end
$$;
create function twice(i integer) returns integer language sql immutable begin atomic select i * 2; end;
create trigger pages_touch before update on pages for each row execute function touch();
create view titles as select id, title from pages;
create materialized view kinds as select kind, count(*) as pages from pages group by kind;
create aggregate total(integer) (sfunc = int4pl, stype = integer, initcond = '0');
create rule keep_authors as on delete to authors do instead nothing;
create statistics pages_stats on title, slug from pages;
alter table tags enable row level security;
create policy visible on tags using (weight > 0);
create sequence ticket increment by 5;
comment on table pages is 'what readers see';
comment on column pages.slug is 'the last part of the address; it''s unique';
grant select on pages to corpus_reader;
