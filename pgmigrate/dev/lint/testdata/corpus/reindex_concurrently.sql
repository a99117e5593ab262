---- tern: disable-tx ----
reindex (verbose) table concurrently orders;
