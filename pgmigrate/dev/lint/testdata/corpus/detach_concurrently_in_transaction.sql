-- want concurrently-in-transaction
alter table events detach partition events_2024 concurrently;
