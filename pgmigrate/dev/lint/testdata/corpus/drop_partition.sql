-- want drop-table
drop table events_2024;
