-- The text looks like statements, and is none.
insert into old.drafts (id, body) values (1, 'update customers set active = true; drop table customers');
comment on table customers is 'do not: delete from customers; -- ever';
/* drop table orders; /* nested */ update orders set note = ''; */
select $q$drop table orders; '$q$, E'it\'s; delete from orders';
