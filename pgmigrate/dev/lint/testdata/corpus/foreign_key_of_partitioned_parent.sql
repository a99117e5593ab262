-- want foreign-key-without-not-valid
alter table logs add constraint logs_drafts foreign key (id) references customers (id);
