create or replace view active_customers as select id, name from customers where active is true;
