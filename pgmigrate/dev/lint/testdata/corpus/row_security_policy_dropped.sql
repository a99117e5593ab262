-- want row-security-without-policy
drop policy own on secrets;
