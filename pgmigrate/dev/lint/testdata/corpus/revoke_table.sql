-- want revoke
revoke select on orders from public;
