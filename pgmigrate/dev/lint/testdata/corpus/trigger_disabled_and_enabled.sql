-- want disabled-trigger
alter table orders disable trigger user;
update orders set note = 'x' where id = 1;
alter table orders enable trigger user;
