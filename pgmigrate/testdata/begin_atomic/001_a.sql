---- tern: disable-tx ----
create table a (id int);

create function add_a(n int) returns void language sql
begin atomic
  insert into a values (case when n > 0 then n else 0 end);
  insert into a values (n + 1);
end;
