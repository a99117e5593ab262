create table a (id int, b jsonb default '{"x": {}}');
---- create above / drop below ----

drop table a;
select '{{ braces }}';
