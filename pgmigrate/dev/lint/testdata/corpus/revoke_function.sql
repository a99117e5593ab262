-- want revoke
revoke execute on function price(bigint) from public;
