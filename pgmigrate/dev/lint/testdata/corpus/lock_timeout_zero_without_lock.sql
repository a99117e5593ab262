set local lock_timeout = 0;
create table notes (id bigint primary key);
