create sequence fresh;
select setval('fresh', 100);
create table notes (id bigint generated always as identity primary key);
select setval(pg_get_serial_sequence('notes', 'id'), 10);
alter sequence fresh restart with 5;
