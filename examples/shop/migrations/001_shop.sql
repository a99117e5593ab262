create table public.customers (
  id bigint generated always as identity primary key,
  email text not null constraint customers_email unique check (email like '%_@_%'),
  name text not null check (name <> '')
);

create table public.products (
  id bigint generated always as identity primary key,
  sku text not null constraint products_sku unique,
  title text not null check (title <> ''),
  price bigint not null check (price > 0), -- cents
  stock integer not null constraint products_stock check (stock >= 0)
);

create index products_title on public.products (title, id);
create index products_price on public.products (price, id);

create table public.orders (
  id bigint generated always as identity primary key,
  customer_id bigint not null constraint orders_customer references public.customers (id),
  total bigint not null default 0,
  paid boolean not null default false,
  created_at timestamptz not null default now()
);

create index orders_customer_id on public.orders (customer_id);

create table public.order_items (
  order_id bigint not null references public.orders (id),
  product_id bigint not null references public.products (id),
  quantity integer not null check (quantity > 0),
  price bigint not null,
  constraint order_items_one primary key (order_id, product_id)
);

create index order_items_product_id on public.order_items (product_id);

-- reported_at is null until the payment is in the analytics database.
create table public.payments (
  id bigint generated always as identity primary key,
  order_id bigint not null constraint payments_order unique references public.orders (id),
  amount bigint not null check (amount > 0),
  paid_at timestamptz not null default now(),
  reported_at timestamptz
);

create index payments_unreported on public.payments (id) where reported_at is null;

create function public.payments_notify() returns trigger
language plpgsql as $$
begin
  perform pg_notify('payments', '');
  return null;
end
$$;

create trigger payments_notify
after insert on public.payments
for each statement execute function public.payments_notify();

---- create above / drop below ----

drop table public.payments;
drop function public.payments_notify();
drop table public.order_items;
drop table public.orders;
drop table public.products;
drop table public.customers;
