-- want cluster
cluster orders using orders_customer;
