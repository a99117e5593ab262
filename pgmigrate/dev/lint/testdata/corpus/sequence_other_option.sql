alter sequence numbers cache 20;
