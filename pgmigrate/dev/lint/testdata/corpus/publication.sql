---- tern: disable-tx ----
create publication p for table orders;
