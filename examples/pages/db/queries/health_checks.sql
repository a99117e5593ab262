-- name: AddHealthCheck :one
insert into health_checks (component, status, latency_ms, detail)
values (@component, @status, @latency_ms, sqlc.narg('detail'))
returning *;

-- name: ListHealthChecks :many
-- The newest first.
select * from health_checks order by id desc limit @max_checks;
