alter table customers add constraint customers_mail_key unique using index customers_mail;
