alter domain email add constraint looks_like_mail check (value like '%@%') not valid;
