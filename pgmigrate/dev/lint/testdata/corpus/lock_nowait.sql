-- want lock-table
-- want lock-table
lock table only public.orders, customers nowait;
