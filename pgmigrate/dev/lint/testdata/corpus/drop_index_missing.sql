-- want drop-missing
drop index if exists no_such_index;
