---- tern: disable-tx ----
-- want alter-system
alter system set work_mem = '64MB';
