-- Who changed what, when, from what to what. Page revisions are not audited: they are immutable and say themselves
-- who saved them and when.

create table public.audit_events (
  id          bigint      not null generated always as identity,
  table_name  text        not null,
  row_id      text        not null,
  action      text        not null,
  actor       text        not null default public.actor(),
  occurred_at timestamptz not null default now(),
  before      jsonb,
  after       jsonb,
  constraint audit_events_pkey primary key (id),
  constraint audit_events_action_known check (action in ('insert', 'update', 'delete')),
  constraint audit_events_images check (
    (before is null) = (action = 'insert') and (after is null) = (action = 'delete')
  )
);

create index audit_events_row on public.audit_events (table_name, row_id, id);
create index audit_events_occurred_at on public.audit_events (occurred_at);

comment on table public.audit_events is 'Append-only trail of every change to sites, pages, assets and publications, written by triggers.';
comment on column public.audit_events.row_id is 'The id column of the changed row, as text.';
comment on column public.audit_events.actor is 'The setting app.actor of the changing transaction, else its database role.';
comment on column public.audit_events.occurred_at is 'When the changing transaction began.';
comment on column public.audit_events.before is 'The whole row before the change; null for an insert.';
comment on column public.audit_events.after is 'The whole row after the change; null for a delete.';

create trigger audit_events_append_only
  before update or delete or truncate on public.audit_events
  for each statement execute function public.reject_change('the audit trail is append-only');

create function public.record_audit_event() returns trigger
  language plpgsql
  set search_path = pg_catalog, pg_temp
as $$
declare
  image_before jsonb;
  image_after  jsonb;
begin
  if tg_op <> 'INSERT' then
    image_before := to_jsonb(old);
  end if;
  if tg_op <> 'DELETE' then
    image_after := to_jsonb(new);
  end if;
  insert into public.audit_events (table_name, row_id, action, before, after)
  values (tg_table_name, coalesce(image_after, image_before) ->> 'id', lower(tg_op), image_before, image_after);
  return null;
end
$$;

comment on function public.record_audit_event() is 'After a change of a row with an id column: writes it into audit_events.';

create trigger sites_audit
  after insert or update or delete on public.sites
  for each row execute function public.record_audit_event();

create trigger pages_audit
  after insert or update or delete on public.pages
  for each row execute function public.record_audit_event();

create trigger assets_audit
  after insert or update or delete on public.assets
  for each row execute function public.record_audit_event();

create trigger publications_audit
  after insert or update or delete on public.publications
  for each row execute function public.record_audit_event();

-- TRUNCATE fires no row triggers. The trees of sites and pages are guarded by page_revisions_immutable already.
create trigger assets_no_truncate
  before truncate on public.assets
  for each statement execute function public.reject_change('it would leave no trace in the audit trail; delete rows');

create trigger publications_no_truncate
  before truncate on public.publications
  for each statement execute function public.reject_change('it would leave no trace in the audit trail; delete rows');

---- create above / drop below ----

drop trigger publications_no_truncate on public.publications;
drop trigger assets_no_truncate on public.assets;
drop trigger publications_audit on public.publications;
drop trigger assets_audit on public.assets;
drop trigger pages_audit on public.pages;
drop trigger sites_audit on public.sites;
drop function public.record_audit_event();
drop table public.audit_events;
