alter type order_state add value 'cancelled';
-- want enum-value-in-same-transaction
alter table orders alter column state set default 'cancelled';
