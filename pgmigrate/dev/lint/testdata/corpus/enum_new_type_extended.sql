create type colour as enum ('red');
alter type colour add value 'blue';
-- Release notes of 17: allowed if the type is of the same transaction.
-- want enum-value-in-same-transaction (before 17)
create table paints (colour colour not null default 'blue');
