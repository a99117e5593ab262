create table if not exists invoices (id bigint primary key);
-- want index-without-concurrently
create index if not exists orders_note on orders (note);
alter table orders add column if not exists comment text;
-- want drop-column
alter table orders add column channel text, drop column note;
-- want set-not-null
alter table orders alter column customer_id set not null;
