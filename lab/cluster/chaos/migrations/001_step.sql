create table marks (step int, half int);
create table step_1 (id int primary key, note text);
insert into marks (step, half) values (1, 1);
select pg_sleep(0.4);
insert into step_1 select n, 'note ' || n from generate_series(1, 1000) n;
insert into marks (step, half) values (1, 2);

---- create above / drop below ----

drop table step_1;
