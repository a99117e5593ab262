-- want detach-partition
alter table events detach partition events_2024;
