-- want row-security-without-policy
alter table orders enable row level security;
