create table a (id int); -- commit;
insert into a values (1); /* begin; /* nested; */ commit; */

commit;
create function f() returns void language plpgsql as $$ begin perform 1; end; $$;
create function g() returns int language sql begin atomic select case 1 when 1 then 2 end; end;
savepoint s;
rollback to savepoint s;
select 'commit;', "id" from a as "begin";

---- create above / drop below ----

end;
drop table a;
