-- DROP CONSTRAINT of a unique constraint takes ACCESS EXCLUSIVE for a moment; nothing is scanned.
alter table customers add constraint customers_mail_key unique using index customers_mail;
alter table customers drop constraint customers_mail_key;
