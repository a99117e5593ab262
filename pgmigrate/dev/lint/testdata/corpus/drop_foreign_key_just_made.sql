create table notes (id bigint primary key, order_id bigint references orders);
alter table notes drop constraint notes_order_id_fkey;
