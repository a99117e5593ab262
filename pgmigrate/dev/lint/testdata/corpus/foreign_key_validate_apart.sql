-- VALIDATE CONSTRAINT takes SHARE UPDATE EXCLUSIVE, and ROW SHARE on the referenced table.
alter table orders validate constraint orders_customer_fk;
