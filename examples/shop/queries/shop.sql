-- name: CreateCustomer :one
insert into public.customers (email, name) values (@email, @name) returning *;

-- name: CreateOrder :one
insert into public.orders (customer_id) values (@customer_id) returning *;

-- name: AddItem :one
with taken as (
  update public.products set stock = stock - @quantity::integer where id = @product_id returning id, price
)
insert into public.order_items (order_id, product_id, quantity, price)
select @order_id, taken.id, @quantity::integer, taken.price from taken
returning (quantity * price)::bigint as cost;

-- name: SetTotal :one
update public.orders set total = @total where id = @id returning *;

-- name: PayOrder :one
update public.orders set paid = true where id = @id and total = @amount and not paid returning id;

-- name: CreatePayment :one
insert into public.payments (order_id, amount) values (@order_id, @amount) returning *;

-- name: UnreportedPayments :many
select * from public.payments where reported_at is null order by id limit 100;

-- name: MarkReported :exec
update public.payments set reported_at = now() where id = any(@ids::bigint[]);

-- name: LateReports :one
select count(*) from public.payments where reported_at is null and paid_at < now() - interval '5 minutes';
