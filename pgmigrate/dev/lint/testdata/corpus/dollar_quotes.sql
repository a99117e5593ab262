create function f() returns text language sql as $outer$ select $inner$; drop table orders; $inner$ $outer$;
select f();
do $x$ begin raise notice '%', $$delete from orders; $$; end $x$;
