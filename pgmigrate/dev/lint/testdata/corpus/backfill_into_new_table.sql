create table loyal (customer_id bigint primary key);
insert into loyal select id from customers where active;
