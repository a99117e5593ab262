---- tern: disable-tx ----
alter table events detach partition events_2024 concurrently;
set lock_timeout = '2s';
-- want drop-table
drop table events_2024;
