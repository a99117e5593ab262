---- tern: disable-tx ----
drop index concurrently customers_name;
