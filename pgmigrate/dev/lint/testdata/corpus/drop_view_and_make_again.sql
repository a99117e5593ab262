-- Nobody outside the transaction sees the gap.
drop view active_customers;
create view active_customers as select id, name, mail from customers where active;
