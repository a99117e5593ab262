-- What exists before each migration of the corpus. Imagine many rows in every table, and queries running on them.
create schema shop;
create schema old;

create type order_state as enum ('new', 'paid', 'sent');
create domain email as text;
create domain percent as int constraint percent_range check (value between 0 and 100);

create table customers (
	id bigint generated always as identity primary key,
	name text not null,
	mail email,
	nickname varchar(20),
	country char(2),
	credit numeric(10, 2),
	birthday date,
	joined timestamp,
	seen timestamptz,
	active boolean,
	points int,
	settings jsonb,
	constraint customers_points_not_null check (points is not null)
);
create index customers_name on customers (name);
create unique index customers_mail on customers (mail);

create table orders (
	id bigint generated always as identity primary key,
	customer_id bigint,
	state order_state not null default 'new',
	total numeric not null default 0,
	note text,
	code varchar(10)
);
create index orders_customer on orders (customer_id);
create index orders_code on orders (code);

create table shop."Items" (
	id bigint generated always as identity primary key,
	order_id bigint not null references orders,
	"Label" text
);

create table old.drafts (id int, body text);
create table "select" (id bigint, "from" text);
create table bookings (room int not null, during tsrange not null);

create table events (id bigint not null, at timestamptz not null, kind text) partition by range (at);
create table events_2024 partition of events for values from ('2024-01-01') to ('2025-01-01');
create table events_2025 partition of events for values from ('2025-01-01') to ('2026-01-01');
create index events_kind on events (kind);
create table events_2026 (like events including indexes);
create table events_2027 (like events including indexes);
alter table events_2027 add constraint events_2027_bound
	check (at is not null and at >= '2027-01-01' and at < '2028-01-01');

create table logs (id bigint not null, day int not null) partition by list (day);
create table logs_1 partition of logs for values in (1);
create table logs_other partition of logs default;

create view active_customers as select id, name from customers where active;
create materialized view totals as select customer_id, sum(total) as total from orders group by customer_id;
create unique index totals_customer on totals (customer_id);

create table archive (id bigint, rate percent);

create function touch() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger orders_touch before update on orders for each row execute function touch();

create function build_index() returns void language plpgsql as $$
begin
	execute 'create index orders_total on orders (total)';
end $$;
create function tidy() returns void language plpgsql as $$
begin
	perform 1;
end $$;

alter table orders add constraint orders_customer_fk foreign key (customer_id) references customers not valid;
alter table orders add constraint orders_total_check check (total >= 0) not valid;
