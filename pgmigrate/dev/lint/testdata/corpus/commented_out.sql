-- drop table orders;
/*
update customers set active = true;
*/
select 1; -- alter table orders drop column note;
