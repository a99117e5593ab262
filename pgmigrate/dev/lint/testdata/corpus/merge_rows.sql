-- want fails (before 15)
merge into old.drafts d using (values (1, 'a')) as v (id, body) on d.id = v.id
when not matched then insert values (v.id, v.body);
