-- want write-without-where
insert into journal values (1);
