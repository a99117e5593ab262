---- tern: disable-tx ----
-- want drop-database
drop database if exists postgres_old;
