-- Roles belong to a server; an administrator makes them.
grant select on orders to reporting;
