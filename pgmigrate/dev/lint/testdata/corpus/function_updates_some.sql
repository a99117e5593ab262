select reset_negative();
