alter table orders add constraint note_not_null check (note is not null) not valid;
-- want set-not-null
alter table orders alter column note set not null;
