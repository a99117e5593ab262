alter table customers add column tmp int;
alter table customers drop column tmp;
