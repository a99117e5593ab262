---- tern: disable-tx ----
create index concurrently orders_note on orders (note);
