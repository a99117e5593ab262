-- Free only if the session's TimeZone is UTC.
-- want column-type-timezone
alter table customers alter column joined type timestamptz;
