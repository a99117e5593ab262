-- Builds the index of every partition.
-- want index-without-concurrently
create index events_at on events (at);
