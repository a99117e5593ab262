alter table customers alter column nickname type varchar(200);
