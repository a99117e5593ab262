-- want drop-view
drop view active_customers;
