-- name: SaveAsset :one
-- Adds a file, or replaces what is known of the live one that has the name.
insert into assets (site_id, name, media_type, byte_size, sha256, location)
values (@site_id, @name, @media_type, @byte_size, @sha256, @location)
on conflict (site_id, name) where deleted_at is null do update
set media_type = excluded.media_type, byte_size = excluded.byte_size, sha256 = excluded.sha256, location = excluded.location
returning *;

-- name: AssetByName :one
select * from assets where site_id = @site_id and name = @name and deleted_at is null;

-- name: ListAssets :many
select * from assets where site_id = @site_id and deleted_at is null order by name;

-- name: DeleteAsset :execrows
update assets set deleted_at = now() where id = @id and deleted_at is null;
