-- A deferred constraint is checked at the end of the transaction.
create table nodes (id bigint primary key, parent bigint references nodes deferrable initially deferred);
insert into nodes values (1, 2);
insert into nodes values (2, 1);
