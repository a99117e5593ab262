-- want drop-column
alter table events drop column kind;
