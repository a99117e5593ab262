-- want lock-table
lock table orders in exclusive mode;
