-- A domain with a constraint is checked for each row: "a rewrite is needed for domains with constraints" (with a default, the value is tested).
-- want volatile-default
alter table orders add column discount percent default 5;
