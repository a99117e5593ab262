-- want index-without-concurrently
select build_index();
