-- want revoke
revoke usage on schema public from public;
