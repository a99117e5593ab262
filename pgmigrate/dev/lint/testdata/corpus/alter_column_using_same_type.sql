-- want column-type
alter table customers alter column points type int using points + 1;
