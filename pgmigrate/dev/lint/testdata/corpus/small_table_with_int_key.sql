-- A key that is not counted up.
create table countries (number int primary key, name text not null);
