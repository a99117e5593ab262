revoke all on orders from public;
grant select on orders to public;
