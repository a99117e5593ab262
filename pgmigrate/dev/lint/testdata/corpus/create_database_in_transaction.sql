-- want concurrently-in-transaction
create database reports;
