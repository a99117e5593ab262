create table notes (id bigint primary key);
revoke all on notes from public;
create function helper() returns int language sql as 'select 1';
revoke execute on function helper() from public;
alter default privileges revoke execute on functions from public;
