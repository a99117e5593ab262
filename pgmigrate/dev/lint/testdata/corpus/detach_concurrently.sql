---- tern: disable-tx ----
alter table events detach partition events_2024 concurrently;
