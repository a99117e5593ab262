-- ON ONLY builds nothing: the index is invalid until one of each partition is attached.
create index events_at on only events (at);
