alter table customers add column tmp int;
alter table customers rename column tmp to temporary;
