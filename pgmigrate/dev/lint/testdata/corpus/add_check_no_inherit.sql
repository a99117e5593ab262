-- want check-without-not-valid
alter table old.drafts add check (id > 0) no inherit;
