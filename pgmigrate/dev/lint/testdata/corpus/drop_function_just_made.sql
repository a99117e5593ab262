create function helper() returns int language sql as 'select 1';
drop function helper();
