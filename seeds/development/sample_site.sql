-- A site to look at in development. Run by: go tool mage seed
-- A seed runs again when it is edited, so it must be harmless on rows that are there.
select set_config('app.actor', 'seed', true);

insert into public.sites (slug, name)
values ('sample', 'Sample site')
on conflict (slug) where deleted_at is null do update set name = excluded.name;

insert into public.pages (site_id, parent_id, slug, title, position)
select id, null, '', 'Home', 0 from public.sites where slug = 'sample' and deleted_at is null
on conflict do nothing;
