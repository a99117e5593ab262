create table events_2028 (like events including indexes);
alter table events attach partition events_2028 for values from ('2028-01-01') to ('2029-01-01');
