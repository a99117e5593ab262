create temporary table import (id int) on commit drop;
insert into import values (1);
truncate import;
