create statistics orders_stats on customer_id, state from orders;
comment on column orders.note is 'what the customer said';
alter table orders enable row level security;
create policy own on orders using (true);
