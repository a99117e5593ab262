---- tern: disable-tx ----
vacuum (analyze, full false) orders;
