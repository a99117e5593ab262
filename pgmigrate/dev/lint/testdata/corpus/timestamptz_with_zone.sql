-- The zone is said, but the same trap: a session elsewhere would rewrite.
set local timezone = 'Europe/Berlin';
-- want column-type
alter table customers alter column joined type timestamptz;
