update customers set active = true where id = 42;
