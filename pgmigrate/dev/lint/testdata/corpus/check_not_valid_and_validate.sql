alter table orders add constraint total_small check (total < 1000000) not valid;
-- want validate-in-same-transaction
alter table orders validate constraint total_small;
