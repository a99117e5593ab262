-- name: SetActor :exec
-- Says who acts, for the rest of this transaction only; outside of one it has no effect on later statements.
select set_config('app.actor', @actor, true);

-- name: ListAuditEventsOfPage :many
-- What happened to a page and its publications, newest first.
select *
from audit_events
where (table_name = 'pages' and row_id = cast(@page_id::uuid as text))
   or (table_name = 'publications'
       and row_id in (select p.id::text from publications as p where p.page_id = @page_id::uuid))
order by audit_events.id desc
limit @max_events;

-- name: ListAuditEvents :many
-- The newest events of all tables.
select * from audit_events order by id desc limit @max_events;
