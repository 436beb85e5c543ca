"""The only place where database and rooms meet; knows no request and no response."""
