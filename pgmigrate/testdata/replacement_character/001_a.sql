---- tern: disable-tx ----
select 'a';
select '�';
select 'dropped by tern';
