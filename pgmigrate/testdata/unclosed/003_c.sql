---- tern: disable-tx ----
select 1;
do $body$ begin null; end $body;
