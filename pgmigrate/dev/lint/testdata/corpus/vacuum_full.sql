---- tern: disable-tx ----
-- want vacuum-full
vacuum (full, analyze) orders;
