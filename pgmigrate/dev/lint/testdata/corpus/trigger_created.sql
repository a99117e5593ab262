create trigger customers_touch before update on customers for each row execute function touch();
