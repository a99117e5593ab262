-- Functions that the tables of the later migrations share: who acts, row stamps, refusing a change.
--
-- Every name is schema-qualified and every function fixes its search_path, so that neither the caller's
-- search_path nor a schema named like the role decides which object is meant.

create function public.actor() returns text
  language sql stable
  set search_path = pg_catalog, pg_temp
as $$
  select coalesce(nullif(current_setting('app.actor', true), ''), current_user::text)
$$;

comment on function public.actor() is
  'Who acts: the setting app.actor (set it per transaction with set_config(''app.actor'', …, true)), else the database role.';

create function public.stamp_created() returns trigger
  language plpgsql
  set search_path = pg_catalog, pg_temp
as $$
begin
  new.created_at := now();
  new.created_by := public.actor();
  return new;
end
$$;

comment on function public.stamp_created() is
  'Before insert: sets created_at and created_by whatever the statement said.';

create function public.stamp_updated() returns trigger
  language plpgsql
  set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'UPDATE' then
    new.created_at := old.created_at;
    new.created_by := old.created_by;
  end if;
  new.updated_at := now();
  return new;
end
$$;

comment on function public.stamp_updated() is
  'Before insert or update: sets updated_at; an update keeps created_at and created_by.';

create function public.reject_change() returns trigger
  language plpgsql
  set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception '% on table % refused: %', lower(tg_op), tg_table_name, tg_argv[0]
    using errcode = 'restrict_violation', table = tg_table_name, schema = tg_table_schema;
end
$$;

comment on function public.reject_change() is
  'Refuses the statement with SQLSTATE 23001; the trigger''s argument says why.';

---- create above / drop below ----

drop function public.reject_change();
drop function public.stamp_updated();
drop function public.stamp_created();
drop function public.actor();
