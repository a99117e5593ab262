-- "CREATE INDEX: locks out writes (but not reads) on the table until it's done."
-- want index-without-concurrently
create index orders_note on orders (note);
