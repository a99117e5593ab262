-- want fails (before 15)
merge into orders o using customers c on o.customer_id = c.id
when matched and o.note is null then update set note = c.name
when not matched then do nothing;
