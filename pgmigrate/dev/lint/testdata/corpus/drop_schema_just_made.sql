create schema tmp;
create table tmp.t (id int);
drop schema tmp cascade;
