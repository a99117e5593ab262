-- want drop-missing
drop function if exists no_such_function(int);
-- want drop-missing
drop type if exists no_such_type;
-- want drop-missing
drop trigger if exists no_such_trigger on orders;
-- want drop-missing
drop policy if exists no_such_policy on secrets;
-- want drop-missing
drop schema if exists no_such_schema;
-- want drop-missing
alter table orders drop constraint if exists no_such_check;
