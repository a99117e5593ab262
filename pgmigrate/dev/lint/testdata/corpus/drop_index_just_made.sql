create table t (id bigint, a int);
create index t_a on t (a);
drop index t_a;
