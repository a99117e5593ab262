-- One row for each payment, whose number is the shop's: a payment that is reported twice is here once.
create table public.sales (
  payment_id bigint primary key,
  day date not null,
  amount bigint not null
);

create index sales_day on public.sales (day);

---- create above / drop below ----

drop table public.sales;
