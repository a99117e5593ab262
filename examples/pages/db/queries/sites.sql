-- name: SaveSite :one
-- Creates a site, or renames the live one that has the slug.
insert into sites (slug, name)
values (@slug, @name)
on conflict (slug) where deleted_at is null do update set name = excluded.name
returning *;

-- name: SiteBySlug :one
select * from sites where slug = @slug and deleted_at is null;

-- name: ListSites :many
select * from sites where deleted_at is null order by slug;
