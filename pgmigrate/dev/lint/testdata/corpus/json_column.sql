-- want json-column
alter table customers add column raw json;
