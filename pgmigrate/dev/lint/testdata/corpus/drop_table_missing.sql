-- want drop-missing
drop table if exists no_such_table cascade;
