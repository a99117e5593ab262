-- want set-not-null
alter table events alter kind set not null;
