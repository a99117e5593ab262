-- want volatile-default
alter table old.drafts add column number bigint generated always as identity;
