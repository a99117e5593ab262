-- want write-without-where (from 15)
-- want fails (before 15)
merge into orders o using customers c on o.customer_id = c.id
when matched then update set note = c.name;
