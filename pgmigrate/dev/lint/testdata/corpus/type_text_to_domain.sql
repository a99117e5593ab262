-- The domain has no constraint: the same values.
alter table orders alter column note type email;
