create table step_3 (id int primary key, note text);
insert into marks (step, half) values (3, 1);
select pg_sleep(0.4);
insert into step_3 select n, 'note ' || n from generate_series(1, 1000) n;
insert into marks (step, half) values (3, 2);

---- create above / drop below ----

drop table step_3;
