alter table orders add constraint total_small check (total < 1000000) not valid;
