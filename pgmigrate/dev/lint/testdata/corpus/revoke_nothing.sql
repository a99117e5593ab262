revoke insert on orders from public;
